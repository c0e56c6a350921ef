"""Densities of discrete data: dequantization under any continuous density."""

from typing import Self

import jax
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import as_context, check_integer_event, floating_dtype, level_dtype
from dgmjax.densities.bound import Bound
from dgmjax.distributions.base import Density, DistributionLike, as_density
from dgmjax.distributions.dequantization.base import Dequantization, UniformDequantization
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.importance_weighting import log_mean_weight


@recorded
class Dequantized(Density):
    """A model of integers ``0 .. num_levels - 1`` from a density of continuous data in ``[0, num_levels]``.

    ``P(y) = int_{[0,1)^D} p(y + u) du``, bounded by Jensen's inequality:
    ``log P(y) >= E_q [log p(y + u) - log q(u | y)]``, and more tightly, with ``K`` importance samples, by
    ``E [log (1/K) sum_k p(y + u_k) / q(u_k | y)]``. No constant is missing: bits/dim is ``-bound / (D ln 2)``.

    Args:
      density: over ``[0, num_levels]``: a `dgmjax.Flow`, or another `dgmjax.Density`, or what `as_density` takes.
      num_levels: values an element can take: 17 for the digits of scikit-learn, 256 for 8-bit images.
      dequantization: the noise, a `dgmjax.Dequantization`; default `UniformDequantization`. What it has of
        parameters is trained with the density.

    Example:
      >>> import dgmjax as dgm
      >>> model = dgm.Dequantized(dgm.Flow(dgm.Logit((4,), 3)), 3)  # a density on [0, 3], integers 0, 1, 2
      >>> print(model.bound(num_samples=64))
      importance-weighted bound, K=64 (uniform dequantization)

    Source: Theis et al., 2016, arXiv:1511.01844, equations 1-4; Burda et al., 2016, arXiv:1509.00519, equation 8.
    """

    num_levels: int

    def __init__(
        self,
        density: DistributionLike,
        num_levels: int,
        dequantization: Dequantization | None = None,
    ):
        if num_levels < 2:
            raise ValueError(f"Dequantized: num_levels must be at least 2, got {num_levels}.")
        density = self.density = as_density(density)
        self.num_levels = int(num_levels)
        self.event_shape, self.context_shape = density.event_shape, density.context_shape
        if dequantization is None:
            dequantization = UniformDequantization(density.event_shape)
        if dequantization.event_shape != density.event_shape:
            raise ValueError(
                f"Dequantized: the dequantization has events of shape {dequantization.event_shape}, the density of "
                f"shape {density.event_shape}."
            )
        self.dequantization = nnx.data(dequantization)

    def bound(self, num_samples: int = 1) -> Bound:
        """What `log_prob` with ``num_samples`` returns: a lower bound, unless the noise leaves the bins."""
        return Bound(self.dequantization.kind, num_samples, self.dequantization.name)

    @property
    def code_shape(self) -> tuple[int, ...] | None:
        """Shape of the latents of one event, or None for a density without."""
        return self.density.code_shape

    @compiled
    def code(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Latents of the middle of the bins: ``[*batch, *event] -> [*batch, *latent]``."""
        return self.density.code(self.dequantization.centre(x, floating_dtype(self)), context)

    @compiled
    def from_code(self, code: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Integers whose bins the latents belong to."""
        return self._levels(self.density.from_code(code, context))

    @compiled
    def log_prob(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array,
        num_samples: int = 1,
        batch_size: int = 1,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Lower bound on ``log P(y)`` in nats: integers ``[*batch, *event] -> [*batch]``.

        Args:
          value: integers in ``0 .. num_levels - 1``; the range is checked where data enter (`dgmjax.fit`), since a
            traced value cannot be.
          context: for a conditional density, as in `dgmjax.Flow.log_prob`.
          seed: key of the dequantization noise; one, or one an example.
          num_samples: importance samples ``K``; the bound tightens with ``K``.
          batch_size: samples at a time: memory grows with them, and with ``K`` by one number an event only. The result
            does not depend on it.
          key: switches dropout on; leave it out to evaluate.

        Raises:
          TypeError: floating-point values.
          ValueError: wrong event or context shape.
        """
        where = f"{type(self).__name__}.log_prob"
        batch = check_integer_event(value, self.event_shape, where=where)
        dtype = floating_dtype(self)
        context = as_context(context, self.context_shape, batch, where=where, dtype=dtype)

        def one_sample(seed: jax.Array) -> jax.Array:
            x, log_q = self._dequantized(value, seed, key)
            return self.density.log_prob(x, context, key=key) - log_q

        return log_mean_weight(one_sample, seed, num_samples, batch_size=batch_size)

    @compiled
    def log_prob_and_update(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Self]:
        """`log_prob` of one sample as in training, and the new model, see `dgmjax.Flow.log_prob_and_update`."""
        where = f"{type(self).__name__}.log_prob_and_update"
        batch = check_integer_event(value, self.event_shape, where=where)
        dtype = floating_dtype(self)
        context = as_context(context, self.context_shape, batch, where=where, dtype=dtype)
        x, log_q = self._dequantized(value, seed, key)
        log_prob, density = self.density.log_prob_and_update(x, context, key=key)
        new = nnx.clone(self)
        new.density = density
        return log_prob - log_q, new

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw integers, ``uint8`` for up to 256 levels; arguments as in `dgmjax.Flow.sample`."""
        x = self.density.sample(
            seed=seed, sample_shape=sample_shape, context=context, temperature=temperature
        )
        return self._levels(x)

    def with_data_init(
        self, value: jax.Array, context: jax.Array | None = None, *, seed: jax.Array
    ) -> Self:
        """A new model whose data-dependent layers are set from the dequantized batch ``value``."""
        new = nnx.clone(self)
        new.dequantization = self.dequantization.with_data_init(value, seed=prng.fold_in(seed, 1))
        x, _ = new.dequantization.dequantize(value, seed=seed, dtype=floating_dtype(self))
        new.density = self.density.with_data_init(x, context)
        return new

    def _dequantized(
        self, value: jax.Array, seed: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        noise_key = prng.fold_in(key, 1)
        return self.dequantization.dequantize(
            value, seed=seed, dtype=floating_dtype(self), key=noise_key
        )

    def _levels(self, x: jax.Array) -> jax.Array:
        levels = self.dequantization.quantize(x, self.num_levels)
        return levels.astype(level_dtype(self.num_levels))
