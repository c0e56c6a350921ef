"""Any conditional model as a likelihood: the decoder gives its context."""

from typing import Any, Self

import jax
from flax import nnx

from dgmjax.checks import widened
from dgmjax.distributions.base import as_density
from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics.compiled import compiled


@recorded
class ConditionalModel(Likelihood):
    """``p(x | output) = model(x | context = output)``: the output of the decoder is the context of a model.

    With an autoregressive model, e.g. ``dgm.PixelCNNpp((28, 28, 1), 2, context_shape=(64,), rngs=rngs)``, it is the
    variational lossy autoencoder, whose latents hold what the receptive field of the model does not see.

    Args:
      model: with ``event_shape``, ``context_shape``, ``log_prob(x, context)`` and ``sample(seed=, context=)``; a model
        of integers has ``num_levels``. Its log-density must be exact, without noise of its own.

    Raises:
      ValueError: the model takes no context, or its log-density is a noisy bound.

    Source: Chen et al., 2017, *Variational lossy autoencoder*, arXiv:1611.02731, section 3.1; Gulrajani et al., 2017,
      *PixelVAE*, arXiv:1611.05013.
    """

    def __init__(self, model: Any):
        density = as_density(model)
        if density.context_shape is None:
            raise ValueError(
                f"ConditionalModel: {type(model).__name__} takes no context; build it with context_shape=(k,)."
            )
        if density.bound().is_noisy:
            raise ValueError(
                f"ConditionalModel: the log_prob of {type(model).__name__} is a bound that draws noise "
                f"({density.bound()}); use a model of integers with an exact one, such as PixelCNNpp."
            )
        super().__init__(density.event_shape, density.context_shape, density.num_levels)
        self.model = density

    @compiled
    def log_prob(
        self, x: jax.Array, output: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """As `Likelihood.log_prob`; ``key``, one or one an example, switches the dropout of the model on."""
        x, output = self._aligned(x, output)
        return widened(self.model.log_prob(x, output, key=key))

    @compiled
    def log_prob_and_update(
        self, x: jax.Array, output: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """`log_prob` as in training, and the likelihood of the model with new running statistics."""
        x, output = self._aligned(x, output)
        log_prob, model = self.model.log_prob_and_update(x, output, key=key)
        new = nnx.clone(self)
        new.model = model
        return widened(log_prob), new

    def mean(self, output: jax.Array) -> jax.Array:
        """Not available: an autoregressive model has no mean in closed form.

        Raises:
          NotImplementedError: always.
        """
        raise NotImplementedError(
            f"ConditionalModel.mean: {type(self.model).__name__} has no mean in closed form; draw with "
            f"sample(output, seed=key), and average draws if a mean is needed."
        )

    def with_data_init(self, x: jax.Array, output: jax.Array) -> Self:
        """A new one, the data-dependent layers of whose model are set from events ``[n, *event]`` and outputs."""
        new = nnx.clone(self)
        new.model = self.model.with_data_init(x, output)
        return new

    def _draw(self, key: jax.Array, output: jax.Array) -> jax.Array:
        return self.model.sample(seed=key, context=output)
