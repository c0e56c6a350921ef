"""Equally weighted mixtures of posteriors, such as the aggregated posterior of a data set."""

import math
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import as_shape, check_float_event
from dgmjax.distributions.base import Density
from dgmjax.distributions.posteriors.base import Posterior
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.sharding import varying

# Values, components and dimensions of a batch together: 16 MiB an array in float32.
_BATCH_NUMBERS = 2**22


class PosteriorMixturePrior(Module):
    """A prior that is a mixture of the posteriors of a model, and a density with that model's encoder only.

    A subclass implements `given`. A model with latent variables calls it whenever it needs the density, so that no
    array is in two places.
    """

    def given(
        self,
        encode_scaled: Callable[[jax.Array], jax.Array],
        encode: Callable[[Any], jax.Array],
        posterior: Posterior,
    ) -> "PosteriorMixture":
        """The prior as a density, for this encoder and posterior.

        Args:
          encode_scaled: ``[*batch, *event]`` of floats in [-1, 1] to features.
          encode: the same for data as the user has them.
          posterior: what the features parametrise.
        """
        raise NotImplementedError(f"{type(self).__name__} has no given.")

    def with_data_init(self, x: Any) -> Self:
        """A new prior whose data-dependent parts are set from the events ``x``; itself without any."""
        del x
        return self


class PosteriorMixture(Density):
    """``q(z) = 1/n sum_i q(z | features_i)``.

    With the features of all training data it is the aggregated posterior, with those of pseudo-inputs the VampPrior.
    Of every component the log-density of the whole vector enters the log-sum-exp; exchanging that with the sum over
    dimensions would give the product of the marginals of the mixture.

    Args:
      posterior: of the components.
      features: ``[n, posterior.feature_size]``.

    Raises:
      ValueError: features of another shape.

    Source: Tomczak and Welling, 2018, *VAE with a VampPrior*, arXiv:1705.07120, equations 8 and 9.
    """

    def __init__(self, posterior: Posterior, features: jax.Array):
        if features.ndim != 2 or features.shape[1] != posterior.feature_size or not len(features):
            raise ValueError(
                f"PosteriorMixture: expected features [n, {posterior.feature_size}] of n >= 1 components, got "
                f"{features.shape}."
            )
        self.posterior = posterior
        self.event_shape = posterior.event_shape
        self.features = nnx.data(features)

    @compiled
    def log_prob(self, z: jax.Array, *, batch_size: int | None = None) -> jax.Array:
        """``log 1/n sum_i q(z | features_i)``: ``[*batch, d] -> [*batch]``, nats.

        The components come in batches, joined by a running log-sum-exp; their parts are computed again for the
        gradient, so memory is that of one batch.

        Args:
          z: latents.
          batch_size: components at a time, which changes the value by rounding only; by default as many as keep
            ``values x components x d`` below 2^22.

        Raises:
          ValueError: wrong event, or a batch size below 1.
        """
        batch = check_float_event(z, self.event_shape, where="PosteriorMixture.log_prob")
        num, size = len(self.features), self._batch_size(z, batch_size)
        values = z.reshape(math.prod(batch), *self.event_shape)

        @jax.checkpoint
        def join(total: jax.Array | None, features: jax.Array) -> jax.Array:
            pairs = self.posterior.pairwise_log_prob(values, features)
            part = jax.nn.logsumexp(pairs, axis=1)
            return part if total is None else jnp.logaddexp(total, part)

        # What does not fill a batch comes first, so that the running sum never starts from log 0.
        first = (num - 1) % size + 1
        total = join(None, self.features[:first])
        if first < num:
            rest = self.features[first:].reshape(-1, size, self.features.shape[1])
            total = varying(total, values, rest)
            total, _ = jax.lax.scan(lambda sum_, part: (join(sum_, part), None), total, rest)
        return total.reshape(batch) - jnp.log(jnp.asarray(num, total.dtype))

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, d]``: a component, and a latent from it.

        Args:
          seed: typed key; or keys, one for each of the first axes of ``sample_shape``.
          sample_shape: int or tuple.
        """
        key, seed = prng.split(seed)
        index = prng.draw(
            lambda one, shape: jax.random.randint(one, shape, 0, len(self.features)),
            key,
            as_shape(sample_shape),
        )
        return self.posterior.sample(self.features[index], seed=seed)

    def _batch_size(self, z: jax.Array, batch_size: int | None) -> int:
        if batch_size is None:
            batch_size = max(1, _BATCH_NUMBERS // max(z.size, 1))
        if batch_size < 1:
            raise ValueError(f"PosteriorMixture: batch_size must be at least 1, got {batch_size}.")
        return min(batch_size, len(self.features))
