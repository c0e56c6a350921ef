"""The cache of a pixel network, inputs of convolutions so far, so that one more pixel costs one pixel.

The vertical stream advances by a row: of every convolution with two rows it keeps the row before (`CachedRow`). The
horizontal stream advances by a pixel: of every convolution it keeps the row before and the pixels to the left
(`CachedPixel`). Half the resolution has something new at even rows and columns only; between them its last output is
remembered. Nothing but inputs of convolutions is stored, so the memory is that of two rows of activations.

Source: Ramachandran et al., 2017, *Fast generation for convolutional autoregressive models*, arXiv:1704.06001.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.nets.pixelcnn.buffer import Buffer, Window, conv_buffer, upsampled_buffer
from dgmjax.nets.pixelcnn.conv import CausalConv, NormalizedKernel
from dgmjax.nets.pixelcnn.stream import CausalStream
from dgmjax.nets.pixelcnn.whole_image import WholeImage


class _CachedConvs:
    """Runs convolutions in the order in which ``cache`` lists their inputs; ``inputs`` are the new ones, to keep."""

    def __init__(self, cache: Sequence[Any]):
        self._cache = iter(cache)
        self.inputs: list[jax.Array] = []

    def __call__(self, conv: Any, x: jax.Array) -> jax.Array:
        """``conv`` at the row or the pixel ``x``."""
        if conv.is_pointwise:
            return conv(x)
        self.inputs.append(x)
        return self._next_to(next(self._cache), conv, x)

    def _next_to(self, cached: Any, conv: CausalConv, x: jax.Array) -> jax.Array:
        raise NotImplementedError


class RowConvs(_CachedConvs):
    """Runs convolutions on one row ``[batch, 1, w, c]`` of their input."""

    def _next_to(self, cached: jax.Array, conv: CausalConv, x: jax.Array) -> jax.Array:
        return conv.of_rows(jnp.concatenate([cached, x], axis=-3))


class PixelConvs(_CachedConvs):
    """Runs convolutions on one pixel ``[batch, 1, 1, c]`` of their input."""

    def _next_to(self, cached: Window, conv: CausalConv, x: jax.Array) -> jax.Array:
        return conv.of_pixel(cached.around(x))


class _Cached(WholeImage):
    """Evaluation bit by bit: all inputs of convolutions are kept."""

    def of_block(self, convs: Any, block: Any) -> Any:
        """The rows to keep, or the pixels to write, of a block."""
        del block
        return convs.inputs

    def of_input(self, x: jax.Array) -> Any:
        """The row or the pixel itself."""
        return x


class CachedRow(_Cached):
    """Evaluation of a stream on row ``row``."""

    def __init__(self, row: jax.Array):
        self.row = row

    def convs(self, cache: Any) -> RowConvs:
        """The convolutions of one block."""
        return RowConvs(cache)

    def at_scale(self, scale: int, function: Callable[[], Any], cache: Any) -> Any:
        """A lower resolution at its rows; at others nothing is new."""
        before = (cache["upsampled"], cache["features"], cache["lower"])
        return jax.lax.cond(self.row % 2**scale == 0, function, lambda: before)

    def crop(self, scale: int, upsampled: jax.Array) -> jax.Array:
        """Our row of the two that a row was upsampled to."""
        return jax.lax.dynamic_slice_in_dim(upsampled, (self.row >> scale) % 2, 1, axis=-3)


class CachedPixel(_Cached):
    """Evaluation of a stream at the pixel at ``row`` and ``column``."""

    keeps_features = False

    def __init__(self, row: jax.Array, column: jax.Array):
        self.row, self.column = row, column

    def convs(self, cache: Any) -> PixelConvs:
        """The convolutions of one block."""
        return PixelConvs(cache)

    def at_scale(self, scale: int, function: Callable[[], Any], cache: Any) -> Any:
        """A lower resolution at its pixels; at others write what is there."""
        before = current((cache["upsampled"], cache["features"], cache["lower"]))
        here = (self.row % 2**scale == 0) & (self.column % 2**scale == 0)
        return jax.lax.cond(here, function, lambda: before)

    def crop(self, scale: int, upsampled: jax.Array) -> jax.Array:
        """Our pixel of the four that a pixel was upsampled to."""
        row = jax.lax.dynamic_slice_in_dim(upsampled, (self.row >> scale) % 2, 1, axis=-3)
        return jax.lax.dynamic_slice_in_dim(row, (self.column >> scale) % 2, 1, axis=-2)


def row_cache(stream: CausalStream, batch: int, width: int, dtype: Any) -> Any:
    """An empty cache of a stream that advances by a row, for images of ``width`` columns."""

    def of_conv(conv: CausalConv, stack: tuple[int, ...], width: int) -> jax.Array:
        return jnp.zeros((*stack, batch, conv.size[0] - 1, width, conv.in_channels), dtype)

    def of_upsampled(width: int) -> jax.Array:
        return jnp.zeros((batch, 2, width, stream.width), dtype)

    def of_features(num: int, width: int) -> jax.Array:
        return jnp.zeros((num, batch, 1, width, stream.width), dtype)

    return _cache(stream, 0, width, of_conv, of_upsampled, of_features)


def pixel_buffers(stream: CausalStream, batch: int, width: int, dtype: Any) -> Any:
    """Empty buffers of a stream that advances by a pixel."""

    def of_conv(conv: CausalConv, stack: tuple[int, ...], width: int) -> Buffer:
        return conv_buffer(conv, batch, width, dtype, stack=stack)

    def of_upsampled(width: int) -> Buffer:
        return upsampled_buffer(stream.width, batch, width, dtype)

    return _cache(stream, 0, width, of_conv, of_upsampled, lambda num, width: None)


def read(buffers: Any, row: jax.Array, column: jax.Array) -> Any:
    """The windows of all convolutions at a pixel."""
    return _at_scales(lambda buffer, row, column: buffer.read(row, column), row, column, buffers)


def write(buffers: Any, entries: Any, row: jax.Array, column: jax.Array) -> Any:
    """The buffers with the new pixel."""
    return _at_scales(
        lambda buffer, row, column, entry: buffer.write(row, column, entry),
        row,
        column,
        buffers,
        entries,
    )


def current(windows: Any) -> Any:
    """The contents of the places of the windows."""
    return jax.tree.map(
        lambda window: window.current, windows, is_leaf=lambda x: isinstance(x, Window)
    )


def at_column(features: Any, column: jax.Array) -> Any:
    """The features of a row, at all resolutions, at one column."""

    def pick(values: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        del row
        return jax.lax.dynamic_slice_in_dim(values, column, 1, axis=-2)

    return _at_scales(pick, column, column, features)


def folded(net: Any) -> Any:
    """The network with all kernels normalized once."""

    def is_layer(x: Any) -> bool:
        return isinstance(x, NormalizedKernel)

    return jax.tree.map(lambda x: x.folded() if is_layer(x) else x, net, is_leaf=is_layer)


def _cache(
    stream: CausalStream, scale: int, width: int, of_conv: Any, of_upsampled: Any, of_features: Any
) -> Any:
    def of_blocks(blocks: Any) -> list[Any]:
        num = jax.tree.leaves(blocks)[0].shape[0]
        return [of_conv(conv, (num,), width) for conv in blocks.spatial]

    cache: dict[str, Any] = {"down": of_blocks(stream.first[scale])}
    if not stream.second:
        return cache
    if scale < stream.resolutions - 1:
        lower = _cache(stream, scale + 1, width // 2, of_conv, of_upsampled, of_features)
        cache["inner"] = {
            "downsampling": of_conv(stream.resize[scale].shrink, (), width),
            "lower": lower,
            "upsampled": of_upsampled(width),
            "features": _features(stream, scale + 1, width // 2, of_features),
        }
    cache["up"] = of_blocks(stream.second[scale])
    return cache


def _features(stream: CausalStream, scale: int, width: int, of_features: Any) -> Any:
    last = scale == stream.resolutions - 1
    features = {"down": of_features(stream.depth, width)}
    if not last:
        features["lower"] = _features(stream, scale + 1, width // 2, of_features)
    features["up"] = of_features(stream.depth + (not last), width)
    return features if jax.tree.leaves(features) else None


def _at_scales(function: Any, row: jax.Array, column: jax.Array, tree: Any, *rest: Any) -> Any:
    """``function(leaf, row, column, *others)`` with the row and column at the resolution of every leaf."""
    if tree is None:
        return None
    if isinstance(tree, list):
        return [
            _at_scales(function, row, column, *parts) for parts in zip(tree, *rest, strict=True)
        ]
    if not isinstance(tree, dict):
        return function(tree, row, column, *rest)

    def child(key: str) -> Any:
        place = (row >> 1, column >> 1) if key == "lower" else (row, column)
        return _at_scales(function, *place, tree[key], *(other[key] for other in rest))

    return {key: child(key) for key in tree}
