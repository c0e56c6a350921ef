"""The layer that turns blocks of pixels into channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.bijectors.squeeze import SqueezeOrder, squeeze, squeezed_shape, unsqueeze
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Squeeze(Bijector):
    """``z = squeeze(x)``: data ``(h, w, c)``, latents ``(h / factor, w / factor, factor^2 c)``; log-determinant 0.

    `dgmjax.Inverse` of it turns channels into pixels from data to latent.

    Args:
      event_shape: ``(h, w, c)``, the data side.
      order: of the channels, see `dgmjax.bijectors.squeeze`: ``"inner"``, between the levels of RealNVP and Glow;
        ``"outer"``, as in TensorFlow; or ``"checkerboard"``, whose first half is the even squares, where RealNVP
        factors out half.
      factor: side of a block, at least 2.

    Raises:
      ValueError: no image, sides that ``factor`` does not divide, or an order that does not exist for it.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.6 and figure 3.
    """

    reach = "any"

    def __init__(
        self, event_shape: Sequence[int], *, order: SqueezeOrder = "inner", factor: int = 2
    ):
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 3:
            raise ValueError(
                f"Squeeze: expected image events (h, w, c), got event_shape {self.event_shape}; batch axes are not "
                f"part of it, and images without channels need an axis of size 1."
            )
        self._squeezed = squeezed_shape(self.event_shape, order=order, factor=factor)
        self.order = order
        self.factor = factor

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(h / factor, w / factor, factor^2 c)``."""
        return self._squeezed

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data: channels become pixels."""
        x = unsqueeze(z, order=self.order, factor=self.factor)
        return x, jnp.zeros(z.shape[:-3], z.dtype)

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent: pixels become channels."""
        z = squeeze(x, order=self.order, factor=self.factor)
        return z, jnp.zeros(x.shape[:-3], x.dtype)
