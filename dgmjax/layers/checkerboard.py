"""The layer that turns the two halves of an image into channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.bijectors.checkerboard import (
    PATTERNS,
    Pattern,
    checkerboard_halves,
    checkerboard_image,
    halves_shape,
)
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class CheckerboardHalves(Bijector):
    """``z = checkerboard_halves(x)``: data ``(h, w, c)``, latents ``(h, w / 2, 2 c)``; log-determinant 0.

    The first ``c`` channels of the latents are the pixels with an even row + column, the last ``c`` the others. So
    `dgmjax.ImageCoupling` with ``mask="channel"`` and ``swap=True``, for which all couplings are equal, alternates
    between the halves of a checkerboard, and its network sees and returns images without holes.

    Args:
      event_shape: ``(h, w, c)``, the data side.
      pattern: ``"checkerboard"``, or ``"columns"`` for even and odd columns, as in the code of Flow++.

    Raises:
      ValueError: no image, an odd width, or an unknown pattern.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, appendix B.
    """

    reach = "any"

    def __init__(self, event_shape: Sequence[int], *, pattern: Pattern = "checkerboard"):
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 3:
            raise ValueError(
                f"CheckerboardHalves: expected image events (h, w, c), got event_shape {self.event_shape}; batch axes "
                f"are not part of it, and images without channels need an axis of size 1."
            )
        if pattern not in PATTERNS:
            raise ValueError(
                f"CheckerboardHalves: unknown pattern {pattern!r}; expected one of {list(PATTERNS)}."
            )
        self._halves = halves_shape(self.event_shape)
        self.pattern = pattern

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(h, w / 2, 2 c)``."""
        return self._halves

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data: the halves of the channels become one image."""
        return checkerboard_image(z, pattern=self.pattern), jnp.zeros(z.shape[:-3], z.dtype)

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent: the halves of the image become channels."""
        return checkerboard_halves(x, pattern=self.pattern), jnp.zeros(x.shape[:-3], x.dtype)
