"""What a pixel network has computed so far, so that one more pixel costs one pixel.

The vertical stream advances by a row: of every convolution with two rows it keeps the row before (`RowWay`). The
horizontal stream advances by a pixel: of every convolution it keeps the row before and the pixels to the left
(`PixelWay`). A level at half the resolution has something new at even rows and columns only; between them its last
output is remembered. Nothing but inputs of convolutions is stored, so the memory is that of two rows of activations.

Source: Ramachandran et al., 2017, *Fast generation for convolutional autoregressive models*, arXiv:1704.06001.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.pixelcnn.buffer import Buffer, Window, conv_buffer, grown_buffer
from dgmjax.nets.pixelcnn.conv import CausalConv, NormalizedKernel
from dgmjax.nets.pixelcnn.stream import CausalStream


class _Layers:
    """Runs convolutions from what ``cache`` holds of their inputs; ``results`` are the new inputs, to keep."""

    def __init__(self, cache: Any):
        self.cache = cache
        self.results: dict[str, jax.Array] = {}


class RowLayers(_Layers):
    """Runs convolutions on one row of their input; ``results`` are the rows to keep."""

    def __call__(self, module: nnx.Module, name: str, x: jax.Array) -> jax.Array:
        """``module.name`` at the row ``x``, ``[batch, 1, w, c]``."""
        layer = getattr(module, name)
        if layer.is_pointwise:
            return layer(x)
        self.results[name] = x
        return layer.of_rows(jnp.concatenate([self.cache[name], x], axis=-3))


class PixelLayers(_Layers):
    """Runs convolutions on one pixel of their input; ``results`` are the pixels to write."""

    def __call__(self, module: nnx.Module, name: str, x: jax.Array) -> jax.Array:
        """``module.name`` at the pixel ``x``, ``[batch, 1, 1, c]``."""
        layer = getattr(module, name)
        if layer.is_pointwise:
            return layer(x)
        self.results[name] = x
        return layer.of_pixel(self.cache[name].around(x))


class _Way:
    """What both ways to run a stream bit by bit do with the inputs of convolutions: all of them are kept."""

    def result(self, layers: _Layers, block: Any) -> Any:
        """The rows to keep, or the pixels to write, of a block."""
        del block
        return layers.results

    def kept(self, cache: Any, name: str, x: jax.Array) -> dict[str, jax.Array]:
        """Of the input of a convolution, ``x``."""
        del cache
        return {name: x}


class RowWay(_Way):
    """How a stream runs on row ``row``."""

    keeps_features = True

    def __init__(self, row: jax.Array):
        self.row = row

    def layers(self, cache: Any) -> RowLayers:
        """What runs the convolutions of one block."""
        return RowLayers(cache)

    def visit(self, level: int, function: Callable[[], Any], cache: Any) -> Any:
        """Run a level at its rows; at others nothing is new."""
        kept = (cache["grown"], cache["features"], cache["level"])
        return jax.lax.cond(self.row % 2**level == 0, function, lambda: kept)

    def pick(self, level: int, grown: jax.Array) -> jax.Array:
        """Our row of the two that a row grew to."""
        return jax.lax.dynamic_slice_in_dim(grown, (self.row >> level) % 2, 1, axis=-3)


class PixelWay(_Way):
    """How a stream runs on the pixel at ``row`` and ``column``."""

    keeps_features = False

    def __init__(self, row: jax.Array, column: jax.Array):
        self.row, self.column = row, column

    def layers(self, cache: Any) -> PixelLayers:
        """What runs the convolutions of one block."""
        return PixelLayers(cache)

    def visit(self, level: int, function: Callable[[], Any], cache: Any) -> Any:
        """Run a level at its pixels; at others write what is there."""
        kept = current((cache["grown"], cache["features"], cache["level"]))
        here = (self.row % 2**level == 0) & (self.column % 2**level == 0)
        return jax.lax.cond(here, function, lambda: kept)

    def pick(self, level: int, grown: jax.Array) -> jax.Array:
        """Our pixel of the four that a pixel grew to."""
        row = jax.lax.dynamic_slice_in_dim(grown, (self.row >> level) % 2, 1, axis=-3)
        return jax.lax.dynamic_slice_in_dim(row, (self.column >> level) % 2, 1, axis=-2)


def row_cache(stream: CausalStream, batch: int, width: int, dtype: Any) -> Any:
    """An empty cache of a stream that advances by a row, for images of ``width`` columns."""

    def of_conv(conv: CausalConv, stack: tuple[int, ...], width: int) -> jax.Array:
        return jnp.zeros((*stack, batch, conv.size[0] - 1, width, conv.in_channels), dtype)

    def of_grown(width: int) -> jax.Array:
        return jnp.zeros((batch, 2, width, stream.width), dtype)

    def of_features(num: int, width: int) -> jax.Array:
        return jnp.zeros((num, batch, 1, width, stream.width), dtype)

    return _cache(stream, 0, width, of_conv, of_grown, of_features)


def pixel_buffers(stream: CausalStream, batch: int, width: int, dtype: Any) -> Any:
    """Empty buffers of a stream that advances by a pixel."""

    def of_conv(conv: CausalConv, stack: tuple[int, ...], width: int) -> Buffer:
        return conv_buffer(conv, batch, width, dtype, stack=stack)

    def of_grown(width: int) -> Buffer:
        return grown_buffer(stream.width, batch, width, dtype)

    return _cache(stream, 0, width, of_conv, of_grown, lambda num, width: None)


def read(buffers: Any, row: jax.Array, column: jax.Array) -> Any:
    """The windows of all convolutions at a pixel."""
    return _at_levels(lambda buffer, row, column: buffer.read(row, column), row, column, buffers)


def write(buffers: Any, entries: Any, row: jax.Array, column: jax.Array) -> Any:
    """The buffers with the new pixel."""
    return _at_levels(
        lambda buffer, row, column, entry: buffer.write(row, column, entry),
        row,
        column,
        buffers,
        entries,
    )


def current(windows: Any) -> Any:
    """What the places of the windows hold."""
    return jax.tree.map(
        lambda window: window.current, windows, is_leaf=lambda x: isinstance(x, Window)
    )


def at_column(features: Any, column: jax.Array) -> Any:
    """The features of a row, of all levels, at one column."""

    def pick(values: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        del row
        return jax.lax.dynamic_slice_in_dim(values, column, 1, axis=-2)

    return _at_levels(pick, column, column, features)


def folded(net: Any) -> Any:
    """The network with all kernels normalized once."""

    def is_layer(x: Any) -> bool:
        return isinstance(x, NormalizedKernel)

    return jax.tree.map(lambda x: x.folded() if is_layer(x) else x, net, is_leaf=is_layer)


def _cache(
    stream: CausalStream, level: int, width: int, of_conv: Any, of_grown: Any, of_features: Any
) -> Any:
    def of_blocks(blocks: Any) -> dict[str, Any]:
        num = jax.tree.leaves(blocks)[0].shape[0]
        return {name: of_conv(getattr(blocks, name), (num,), width) for name in blocks.spatial}

    cache = {"first": of_blocks(stream.first[level])}
    if not stream.second:
        return cache
    if level < stream.num_levels - 1:
        deeper = _cache(stream, level + 1, width // 2, of_conv, of_grown, of_features)
        cache["inner"] = {
            "resize": {"shrink": of_conv(stream.resize[level].shrink, (), width)},
            "level": deeper,
            "grown": of_grown(width),
            "features": _features(stream, level + 1, width // 2, of_features),
        }
    cache["second"] = of_blocks(stream.second[level])
    return cache


def _features(stream: CausalStream, level: int, width: int, of_features: Any) -> Any:
    last = level == stream.num_levels - 1
    features = {"first": of_features(stream.depth, width)}
    if not last:
        features["level"] = _features(stream, level + 1, width // 2, of_features)
    features["second"] = of_features(stream.depth + (not last), width)
    return features if jax.tree.leaves(features) else None


def _at_levels(function: Any, row: jax.Array, column: jax.Array, tree: Any, *rest: Any) -> Any:
    """``function(leaf, row, column, *others)`` with the row and column of the level of every leaf."""
    if tree is None or not isinstance(tree, dict):
        return None if tree is None else function(tree, row, column, *rest)

    def child(key: str) -> Any:
        place = (row >> 1, column >> 1) if key == "level" else (row, column)
        return _at_levels(function, *place, tree[key], *(other[key] for other in rest))

    return {key: child(key) for key in tree}
