"""Squeezing of images: blocks of ``factor x factor`` pixels become channels of one pixel, and back."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.numerics.compiled import compiled

SqueezeOrder = Literal["inner", "outer", "checkerboard"]

SQUEEZE_ORDERS: tuple[SqueezeOrder, ...] = ("inner", "outer", "checkerboard")


def squeezed_shape(
    shape: tuple[int, ...], *, order: SqueezeOrder = "inner", factor: int = 2
) -> tuple[int, ...]:
    """``(*batch, h, w, c) -> (*batch, h / factor, w / factor, factor^2 c)``.

    Raises:
      ValueError: no image, sides that ``factor`` does not divide, or an order that does not exist for it.
    """
    _check(order, factor)
    if len(shape) < 3:
        raise ValueError(
            f"squeeze: expected images (h, w, c), got shape {shape}; add a channel axis with x[..., None]."
        )
    *batch, height, width, channels = shape
    if height % factor or width % factor:
        padded = "x".join(str(-(-side // factor) * factor) for side in (height, width))
        raise ValueError(
            f"squeeze: expected sides divisible by {factor}, got {height}x{width} (shape {shape}); pad the images "
            f"with dgmjax.data.pad_to, to {padded} for one squeeze, or to multiples of {factor}**k for k squeezes in "
            f"a row (28x28 images that are squeezed three times: pad to 32x32)."
        )
    return (*batch, height // factor, width // factor, factor**2 * channels)


@compiled
def squeeze(x: jax.Array, *, order: SqueezeOrder = "inner", factor: int = 2) -> jax.Array:
    """Blocks of pixels become channels: ``[*batch, h, w, c] -> [*batch, h / factor, w / factor, factor^2 c]``.

    The pixels of a block are counted row by row, ``k = factor row + column``: one channel with the positions
    ``1 2 5 6 / 3 4 7 8`` becomes two pixels with the channels ``1 2 3 4`` and ``5 6 7 8``. Pixel ``k`` of channel
    ``i`` (of ``c``) becomes the channel

    - ``"inner"``: ``factor^2 i + k``, as in the code of RealNVP (``squeeze_2x2``) and of Glow (``squeeze2d``). The
      first half is the first half of the channels, at every pixel.
    - ``"outer"``: ``c k + i``, as in ``tf.nn.space_to_depth``. The first half is the upper half of every block.
    - ``"checkerboard"``: ``c rank(k) + i``, where the rank counts the pixels of a block with an even row + column
      first: upper left, lower right, upper right, lower left. The first half is where `checkerboard_mask` is
      ``True``. So does the code of RealNVP before half is factored out (``squeeze_2x2_ordered``).

    A permutation of the elements: its log-determinant is 0.

    Args:
      x: images ``[*batch, h, w, c]``.
      order: of the new channels; with one channel ``"inner"`` and ``"outer"`` are the same.
      factor: side of a block, at least 2; even for ``"checkerboard"``.

    Raises:
      ValueError: no image, sides that ``factor`` does not divide, or an order that does not exist for it.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.6 and figure 3, which
      has one channel; the orders of several are in github.com/tensorflow/models (research/real_nvp) and openai/glow.
    """
    shape = squeezed_shape(x.shape, order=order, factor=factor)
    *batch, height, width, _ = shape
    n = len(batch)
    blocks = x.reshape(*batch, height, factor, width, factor, x.shape[-1])
    if order == "inner":
        axes = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
        return blocks.transpose(axes).reshape(shape)
    axes = (*range(n), n, n + 2, n + 1, n + 3, n + 4)
    cells = blocks.transpose(axes).reshape(*batch, height, width, factor**2, x.shape[-1])
    if order == "checkerboard":
        cells = _take(cells, _even_first(factor))
    return cells.reshape(shape)


@compiled
def unsqueeze(x: jax.Array, *, order: SqueezeOrder = "inner", factor: int = 2) -> jax.Array:
    """``[*batch, h, w, factor^2 c] -> [*batch, factor h, factor w, c]``: the inverse of `squeeze`.

    Raises:
      ValueError: no image, channels that ``factor^2`` does not divide, or an order that does not exist for it.
    """
    _check(order, factor)
    if x.ndim < 3 or x.shape[-1] % factor**2:
        raise ValueError(
            f"unsqueeze: expected images whose channels, the last axis, are a multiple of {factor}**2, got shape "
            f"{x.shape}."
        )
    *batch, height, width, channels = x.shape
    n, channels = len(batch), channels // factor**2
    if order == "inner":
        blocks = x.reshape(*batch, height, width, channels, factor, factor)
        axes = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    else:
        cells = x.reshape(*batch, height, width, factor**2, channels)
        if order == "checkerboard":
            cells = _take(cells, np.argsort(_even_first(factor)))
        blocks = cells.reshape(*batch, height, width, factor, factor, channels)
        axes = (*range(n), n, n + 2, n + 1, n + 3, n + 4)
    return blocks.transpose(axes).reshape(*batch, factor * height, factor * width, channels)


def _check(order: str, factor: int) -> None:
    if order not in SQUEEZE_ORDERS:
        raise ValueError(
            f"squeeze: unknown order {order!r}; expected one of {list(SQUEEZE_ORDERS)}."
        )
    if factor < 2 or (order == "checkerboard" and factor % 2):
        expected = "an even factor" if order == "checkerboard" else "factor >= 2"
        raise ValueError(f"squeeze: expected {expected} for the order {order!r}, got {factor}.")


def _even_first(factor: int) -> np.ndarray:
    """The cells of a block, counted row by row: those of the even squares, then the others."""
    return np.argsort(np.indices((factor, factor)).sum(0).ravel() % 2, kind="stable")


def _take(cells: jax.Array, order: np.ndarray) -> jax.Array:
    # Slices, since the gradient of a gather is a slow scatter-add.
    return jnp.stack([cells[..., index, :] for index in order], axis=-2)
