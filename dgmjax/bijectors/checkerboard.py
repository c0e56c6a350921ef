"""The two halves of an image, squares of a checkerboard or columns, as channels of one of half the width."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.numerics.compiled import compiled

Pattern = Literal["checkerboard", "columns"]

PATTERNS: tuple[Pattern, ...] = ("checkerboard", "columns")


def halves_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``(*batch, h, w, c) -> (*batch, h, w / 2, 2 c)``.

    Raises:
      ValueError: no image, or an odd width.
    """
    if len(shape) < 3:
        raise ValueError(
            f"checkerboard_halves: expected images (h, w, c), got shape {shape}; add a channel axis with x[..., None]."
        )
    *batch, height, width, channels = shape
    if width % 2:
        raise ValueError(
            f"checkerboard_halves: expected an even width, got {height}x{width} (shape {shape}); pad the images with "
            f"dgmjax.data.pad_to, to {height}x{width + 1}."
        )
    return (*batch, height, width // 2, 2 * channels)


@compiled
def checkerboard_halves(x: jax.Array, *, pattern: Pattern = "checkerboard") -> jax.Array:
    """``z[i, j, :c] = x[i, 2 j + i % 2]`` and ``z[i, j, c:] = x[i, 2 j + 1 - i % 2]``, so a half is ``c`` channels.

    The first half are the pixels with an even row + column, where `dgmjax.bijectors.checkerboard_mask` is ``True``,
    the second half the others; neighbours stay neighbours. With the pattern ``"columns"`` they are the even
    and the odd columns. A permutation of the elements: its log-determinant is 0. A coupling of the channels of ``z`` is
    one of the halves of ``x`` that computes nothing for pixels that pass through.

    Args:
      x: images ``[*batch, h, w, c]``, of even width.
      pattern: ``"checkerboard"``, or ``"columns"``.

    Returns:
      ``z`` of shape ``[*batch, h, w / 2, 2 c]``.

    Raises:
      ValueError: no image, an odd width, or an unknown pattern.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, appendix B; the code of the authors splits columns.
    """
    shape = halves_shape(x.shape)
    return _ordered(x.reshape(*shape[:-1], 2, x.shape[-1]), pattern).reshape(shape)


@compiled
def checkerboard_image(z: jax.Array, *, pattern: Pattern = "checkerboard") -> jax.Array:
    """``[*batch, h, w / 2, 2 c] -> [*batch, h, w, c]``: the inverse of `checkerboard_halves`.

    Raises:
      ValueError: no image, an odd number of channels, or an unknown pattern.
    """
    if z.ndim < 3 or z.shape[-1] % 2:
        raise ValueError(
            f"checkerboard_image: expected images with an even number of channels, the last axis, got shape {z.shape}."
        )
    *batch, height, half, channels = z.shape
    pairs = _ordered(z.reshape(*batch, height, half, 2, channels // 2), pattern)
    return pairs.reshape(*batch, height, 2 * half, channels // 2)


def _ordered(pairs: jax.Array, pattern: str) -> jax.Array:
    """Pixels in pairs ``[*batch, h, w / 2, 2, c]``, those of odd rows exchanged on a checkerboard: its own inverse."""
    if pattern not in PATTERNS:
        raise ValueError(
            f"checkerboard_halves: unknown pattern {pattern!r}; expected one of {list(PATTERNS)}."
        )
    if pattern == "columns":
        return pairs
    odd = np.arange(pairs.shape[-4])[:, None, None, None] % 2 == 1
    return jnp.where(np.broadcast_to(odd, pairs.shape), pairs[..., ::-1, :], pairs)
