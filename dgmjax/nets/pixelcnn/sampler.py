"""Samples of a pixel network, pixel after pixel: with what it has computed so far, or all over again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.nets.pixelcnn.buffer import conv_buffer
from dgmjax.nets.pixelcnn.cache import (
    at_column,
    folded,
    pixel_buffers,
    read,
    row_cache,
    write,
)
from dgmjax.nets.pixelcnn.network import PixelCNN
from dgmjax.numerics.sharding import varying

# draw(index of the pixel, outputs [batch, m]) -> levels [batch, c], and rescale(levels) -> inputs of the network.
DrawPixel = Callable[[jax.Array, jax.Array], jax.Array]
Rescale = Callable[[jax.Array], jax.Array]
ImageShape = tuple[int, int, int, int]


def sample_cached(
    net: PixelCNN, draw: DrawPixel, rescale: Rescale, shape: ImageShape, context: jax.Array | None
) -> jax.Array:
    """DrawPixel images ``shape = (batch, h, w, c)`` at the cost of about one pass of the network.

    A scan over rows, in which the vertical stream advances by a row, and inside it one over the pixels of the row.

    Args:
      net: the network.
      draw: ``(i w + j, outputs at pixel (i, j))`` to levels, int32.
      rescale: levels to what the network sees, in the dtype to compute in.
      shape: of the result.
      context: ``[batch, k]``.
    """
    net = folded(net)
    batch, height, width, channels = shape
    blank = rescale(jnp.zeros((batch, 1, width, channels), jnp.int32))
    above = jnp.zeros_like(net.encode(blank))
    dtype = above.dtype
    rows: dict[str, Any] = {}
    if net.vertical is not None:
        rows["start"] = jnp.zeros_like(above)
        rows["stream"] = row_cache(net.vertical, batch, width, dtype)
    buffers = {
        "left": conv_buffer(net.left, batch, width, dtype),
        "stream": pixel_buffers(net.horizontal, batch, width, dtype),
    }

    def next_row(state: Any, row: jax.Array) -> tuple[Any, jax.Array]:
        rows, buffers, above = state
        features, rows = net.row(above, context, row, rows)

        def next_pixel(state: Any, column: jax.Array) -> tuple[Any, Any]:
            buffers, left = state
            windows = {
                "left": buffers["left"].read(row, column),
                "stream": read(buffers["stream"], row, column),
            }
            here = {
                "start": jax.lax.dynamic_slice_in_dim(features["start"], column, 1, axis=-2),
                "stream": at_column(features["stream"], column),
            }
            outputs, entries = net.pixel(left, here, context, (row, column), windows)
            buffers = {
                "left": buffers["left"].write(row, column, entries["left"]),
                "stream": write(buffers["stream"], entries["stream"], row, column),
            }
            levels = draw(row * width + column, outputs[:, 0, 0].astype(blank.dtype))
            seen = net.encode(rescale(levels[:, None, None]))
            return (buffers, seen), (levels, seen[:, 0, 0])

        first = varying((buffers, jnp.zeros_like(above[..., :1, :])), net, context, rows)
        (buffers, _), (levels, seen) = jax.lax.scan(next_pixel, first, jnp.arange(width))
        return (rows, buffers, seen.swapaxes(0, 1)[:, None]), levels

    first = varying((rows, buffers, above), net, context)
    _, levels = jax.lax.scan(next_row, first, jnp.arange(height))
    return levels.transpose(2, 0, 1, 3)


def sample_naive(
    net: PixelCNN, draw: DrawPixel, rescale: Rescale, shape: ImageShape, context: jax.Array | None
) -> jax.Array:
    """The same images by a pass of the whole network a pixel; arguments as in `sample_cached`."""
    net = folded(net)
    width = shape[2]

    def next_pixel(index: jax.Array, levels: jax.Array) -> jax.Array:
        outputs = net(rescale(levels), context)
        row, column = index // width, index % width
        here = jax.lax.dynamic_slice_in_dim(outputs, row, 1, axis=1)
        here = jax.lax.dynamic_slice_in_dim(here, column, 1, axis=2)
        new = draw(index, here[:, 0, 0])[:, None, None]
        zero = jnp.zeros((), index.dtype)
        return jax.lax.dynamic_update_slice(levels, new, (zero, row, column, zero))

    start = varying(jnp.zeros(shape, jnp.int32), net, context)
    return jax.lax.fori_loop(0, shape[1] * width, next_pixel, start)
