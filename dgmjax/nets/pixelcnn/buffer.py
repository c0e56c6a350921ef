"""The last two rows of the input of a convolution, and what it sees of them at a pixel."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.nets.pixelcnn.conv import CausalConv

_CONV, _UPSAMPLED = "conv", "upsampled"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Window:
    """Surroundings of a pixel that a convolution sees: ``previous`` rows, ``left`` pixels, zeros to the right.

    Attributes:
      previous: ``[..., kh - 1, kw, c]``.
      left: ``[..., 1, left, c]``.
      current: what the place held so far.
      right: number of pixels to the right.
    """

    previous: jax.Array
    left: jax.Array
    current: jax.Array
    right: int = dataclasses.field(metadata={"static": True})

    def around(self, x: jax.Array) -> jax.Array:
        """``[..., kh, kw, c]`` with the pixel ``x``, ``[..., 1, 1, c]``, in its place."""
        right = [jnp.zeros_like(x)] * self.right
        row = jnp.concatenate([self.left, x, *right], axis=-2)
        return jnp.concatenate([self.previous, row], axis=-3)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Buffer:
    """Two rows of the input of a convolution, or of an upsampled image, ``[..., rows, columns, c]``; zeros are padding.

    Attributes:
      values: of a convolution, row ``i`` at ``i % kh``, with the padding of its columns.
      kind: of what.
      columns: padding to the left and to the right.
    """

    values: jax.Array
    kind: str = dataclasses.field(metadata={"static": True})
    columns: tuple[int, int] = dataclasses.field(default=(0, 0), metadata={"static": True})

    def read(self, row: jax.Array, column: jax.Array) -> Window:
        """The window at a pixel."""
        if self.kind == _UPSAMPLED:
            current = self._slice(0, 2 * (column // 2), (2, 2))
            return Window(current, current, current, 0)
        left, right = self.columns
        rows = self.values.shape[-3]
        before = self._slice((row + 1) % rows, column, (1, left + 1 + right))
        here = self._slice(row % rows, column, (1, left + 1))
        return Window(
            before if rows > 1 else before[..., :0, :, :],
            here[..., :left, :],
            here[..., left:, :],
            right,
        )

    def write(self, row: jax.Array, column: jax.Array, entry: jax.Array) -> "Buffer":
        """The buffer with a new pixel, or with the 2x2 pixels it was upsampled to."""
        place = self._start(row % self.values.shape[-3], column + self.columns[0])
        if self.kind == _UPSAMPLED:
            place = self._start(0, 2 * (column // 2))
        values = jax.lax.dynamic_update_slice(self.values, entry, place)
        return dataclasses.replace(self, values=values)

    def _slice(self, row: Any, column: Any, size: tuple[int, int]) -> jax.Array:
        shape = (*self.values.shape[:-3], *size, self.values.shape[-1])
        return jax.lax.dynamic_slice(self.values, self._start(row, column), shape)

    def _start(self, row: Any, column: Any) -> tuple[Any, ...]:
        zero = jnp.zeros((), jnp.int32)
        place = (jnp.asarray(row, jnp.int32), jnp.asarray(column, jnp.int32))
        return (*(zero,) * (self.values.ndim - 3), *place, zero)


def conv_buffer(
    conv: CausalConv, batch: int, width: int, dtype: Any, *, stack: tuple[int, ...] = ()
) -> Buffer:
    """An empty buffer of a convolution, or of a stack of them, for images of ``width`` columns."""
    shape = (*stack, batch, conv.size[0], width + sum(conv.columns), conv.in_channels)
    return Buffer(jnp.zeros(shape, dtype), _CONV, conv.columns)


def upsampled_buffer(channels: int, batch: int, width: int, dtype: Any) -> Buffer:
    """An empty buffer of an image that is upsampled from half its resolution."""
    return Buffer(jnp.zeros((batch, 2, width, channels), dtype), _UPSAMPLED)
