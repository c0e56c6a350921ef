"""A scale and a shift that are given, not learned: units, origins and orientations of data."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class FixedAffine(Bijector):
    """``x = shift + scale * z``, with two numbers for all elements; a negative scale turns the axis round.

    Args:
      event_shape: shape of one event.
      shift: where 0 goes.
      scale: not 0.

    Raises:
      ValueError: a scale of 0, or numbers that are not finite.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int], *, shift: float = 0.0, scale: float = 1.0):
        if not scale or not math.isfinite(scale) or not math.isfinite(shift):
            raise ValueError(
                f"FixedAffine: expected a finite shift and a finite scale that is not 0, got {shift} and {scale}."
            )
        self.event_shape = tuple(event_shape)
        self.shift, self.scale = float(shift), float(scale)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return self.shift + self.scale * z, self._log_det(z, math.log(abs(self.scale)))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return (x - self.shift) / self.scale, self._log_det(x, -math.log(abs(self.scale)))

    def _log_det(self, value: jax.Array, log_derivative: float) -> jax.Array:
        batch = value.shape[: value.ndim - len(self.event_shape)]
        return jnp.full(batch, math.prod(self.event_shape) * log_derivative, value.dtype)
