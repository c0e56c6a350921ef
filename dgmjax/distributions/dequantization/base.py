"""Noise that makes integers continuous: the family of dequantizations."""

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp

from dgmjax.checks import widened
from dgmjax.layers.bijector import event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


def in_bin(left: jax.Array, u: jax.Array) -> jax.Array:
    """``left + u`` for ``u`` in ``[0, 1)``, inside the bin ``[left, left + 1)`` whatever the rounding."""
    # In float32 left + u can round up to left + 1.
    return jnp.minimum(left + u, jnp.nextafter(left + 1, left))


class Dequantization(Module):
    """``x = y + low + u``, ``u ~ q(u | y)`` in ``[0, 1)`` for every element, so that ``y = floor(x - low)``.

    What they share. A subclass implements ``noise(y, seed=, dtype=, key=) -> (u, log q(u | y))`` with ``u`` of the
    shape of ``y`` and log-densities ``[*batch]``; then ``log P(y) >= E_q [log p(x) - log q(u | y)]`` for any density
    ``p`` of ``x``, and importance samples tighten it. `GaussianNoise` leaves the bin and is no bound.

    Args:
      event_shape: shape of one event.
      low: left end of the bin of ``y = 0``: 0 for ``[0, 1)``, -0.5 for the interval centred at ``y``. The density is
        then one over ``[low, low + num_levels]``; first layers that know the levels (`dgmjax.Logit`,
        `dgmjax.HistogramGaussianize`) expect 0.
    """

    name: str
    kind: Literal["lower bound", "not a bound"] = "lower bound"

    def __init__(self, event_shape: Sequence[int], *, low: float = 0.0):
        if not -1.0 < low <= 0.0:
            raise ValueError(
                f"{type(self).__name__}: expected low in (-1, 0], so that the bin of y holds y, got {low}."
            )
        self.event_shape = tuple(event_shape)
        self.low = float(low)

    def noise(
        self, y: jax.Array, *, seed: jax.Array, dtype: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """``u`` and ``log q(u | y)`` of integers ``y``."""
        raise NotImplementedError

    @compiled
    def dequantize(
        self,
        y: jax.Array,
        *,
        seed: jax.Array,
        dtype: Any = jnp.float32,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Integers ``[*batch, *event]`` to ``x`` of the same shape and ``log q(u | y)`` of shape ``[*batch]``, nats.

        Args:
          y: integers.
          seed: key of the noise; one, or one an example.
          dtype: of ``x``.
          key: switches dropout on, in noises that have networks.
        """
        u, log_q = self.noise(y, seed=seed, dtype=dtype, key=key)
        left = y.astype(dtype) + self.low
        return in_bin(left, u), widened(log_q)

    @compiled
    def quantize(self, x: jax.Array, num_levels: int) -> jax.Array:
        """``floor(x - low)``, clipped to ``0 .. num_levels - 1``, int32."""
        return jnp.clip(jnp.floor(x - self.low), 0, num_levels - 1).astype(jnp.int32)

    def centre(self, y: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """The middle of the bin of ``y``."""
        return jnp.asarray(y).astype(dtype) + (self.low + 0.5)

    def with_data_init(self, y: jax.Array, *, seed: jax.Array) -> Self:
        """A new noise whose data-dependent parts are set for the integers ``y``; itself, where there are none."""
        del y, seed
        return self

    def _batch(self, y: jax.Array) -> tuple[int, ...]:
        return y.shape[: y.ndim - len(self.event_shape)]


@recorded
class UniformDequantization(Dequantization):
    """``u ~ U[0, 1)``, so ``log q(u | y) = 0``.

    Args:
      event_shape: as in `Dequantization`.
      low: as in `Dequantization`.

    Source: Theis et al., 2016, arXiv:1511.01844, section 3.1; Uria et al., 2013, arXiv:1306.0186.
    """

    name = "uniform dequantization"

    @compiled
    def noise(
        self, y: jax.Array, *, seed: jax.Array, dtype: Any, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Uniform ``u`` and zeros."""
        del key
        u = prng.draw(lambda one, shape: jax.random.uniform(one, shape, dtype), seed, y.shape)
        return u, jnp.zeros(self._batch(y), dtype)


@recorded
class GaussianNoise(Dequantization):
    """``x = y + low + 1/2 + scale e``, ``e ~ N(0, 1)``: augmentation, not dequantization.

    The noise spills into the bins of other levels, so that ``E [log p(x) - log q(x | y)]`` is a bound on ``log 1``, not
    on ``log P(y)``: every report says "not a bound".

    Args:
      event_shape: as in `Dequantization`.
      scale: standard deviation, in levels.
      low: as in `Dequantization`.
    """

    name = "Gaussian noise"
    kind: Literal["lower bound", "not a bound"] = "not a bound"

    def __init__(self, event_shape: Sequence[int], *, scale: float = 1.0, low: float = 0.0):
        super().__init__(event_shape, low=low)
        if scale <= 0.0:
            raise ValueError(f"GaussianNoise: scale must be positive, got {scale}.")
        self.scale = float(scale)

    @compiled
    def dequantize(
        self,
        y: jax.Array,
        *,
        seed: jax.Array,
        dtype: Any = jnp.float32,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """As of `Dequantization`, but ``x`` may lie outside the bin of ``y``."""
        del key
        noise = prng.draw(lambda one, shape: jax.random.normal(one, shape, dtype), seed, y.shape)
        log_q = jax.scipy.stats.norm.logpdf(noise) - math.log(self.scale)
        x = self.centre(y, dtype) + self.scale * noise
        return x, widened(log_q.sum(event_axes(self.event_shape)))
