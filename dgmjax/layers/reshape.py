"""The layer that changes the shape of events."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Reshape(Bijector):
    """The same elements in another shape, in row-major order: images as vectors, say; the log-determinant is 0.

    Args:
      event_shape: of the data side.
      latent_shape: of the latent side; default ``(d,)`` with all elements.

    Raises:
      ValueError: shapes of different sizes.
    """

    reach = "any"

    def __init__(self, event_shape: Sequence[int], latent_shape: Sequence[int] | None = None):
        self.event_shape = tuple(event_shape)
        size = math.prod(self.event_shape)
        self._reshaped = (size,) if latent_shape is None else tuple(latent_shape)
        if math.prod(self._reshaped) != size:
            raise ValueError(
                f"Reshape: expected shapes of one size, got {self.event_shape} with {size} elements and "
                f"{self._reshaped} with {math.prod(self._reshaped)}."
            )

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """As given."""
        return self._reshaped

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        batch = z.shape[: z.ndim - len(self._reshaped)]
        return z.reshape(*batch, *self.event_shape), jnp.zeros(batch, z.dtype)

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        batch = x.shape[: x.ndim - len(self.event_shape)]
        return x.reshape(*batch, *self._reshaped), jnp.zeros(batch, x.dtype)
