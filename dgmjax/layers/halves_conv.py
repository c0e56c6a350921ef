"""Invertible 1x1 convolutions of the two halves of the channels, as in Flow++."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.invertible_conv import conv1x1, conv1x1_log_det
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded

_NOISE = 0.001


@recorded
class HalvesConv(Bijector):
    """``z_i = W_i x_i`` at every pixel for both halves ``i`` of the channels.

    ``log |det dz/dx| = h w (log |det W_1| + log |det W_2|)``. The matrices multiply the data, as in
    `dgmjax.Invertible1x1Conv`, and start near the identity, ``I + 0.001 N(0, 1)``; ``log |det W|`` costs ``O(c^3)``.
    Between couplings that alternate between the halves nothing crosses from one to the other.

    Args:
      event_shape: ``(h, w, c)`` with an even ``c``.
      rngs: ``nnx.Rngs`` for the initial matrices; not kept.

    Raises:
      ValueError: events that are no images, or an odd number of channels.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, appendix B and the authors' code ("Pointwise").
    """

    def __init__(self, event_shape: Sequence[int], *, rngs: nnx.Rngs):
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 3 or self.event_shape[-1] % 2:
            raise ValueError(
                f"HalvesConv: expected image events (h, w, c) with an even c, got event_shape {self.event_shape}; "
                f"squeeze first."
            )
        size = self.event_shape[-1] // 2
        noise = jax.random.normal(rngs.params(), (2, size, size), jnp.float32)
        self.weight = nnx.Param(jnp.eye(size, dtype=jnp.float32)[None] + _NOISE * noise)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data, ``x_i = W_i^-1 z_i``."""
        weight = self.weight[...]
        return self._apply(z, jnp.linalg.inv(weight)), -conv1x1_log_det(self._log_abs_det, z)

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent, ``z_i = W_i x_i``."""
        return self._apply(x, self.weight[...]), conv1x1_log_det(self._log_abs_det, x)

    def _apply(self, x: jax.Array, matrices: jax.Array) -> jax.Array:
        halves = jnp.split(x, 2, axis=-1)
        return jnp.concatenate(
            [conv1x1(half, matrix) for half, matrix in zip(halves, matrices, strict=True)], axis=-1
        )

    @property
    def _log_abs_det(self) -> jax.Array:
        return jnp.linalg.slogdet(self.weight[...])[1].sum()
