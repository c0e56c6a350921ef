"""Convolutions that see pixels above and to the left only, with normalized weights; and their transposes."""

from collections.abc import Sequence
from typing import Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.nets.conv import add_bias
from dgmjax.nets.summary import Module
from dgmjax.numerics.conv import conv2d

ReceptiveField = Literal["down", "down_right", "raster"]

_INIT = nnx.initializers.normal(0.05)
_TINY = 1e-10


class NormalizedKernel(Module):
    """``g v / |v|``, one norm ``g`` an output channel, and a bias; the start of both can come from data.

    Source: Salimans and Kingma, 2016, *Weight normalization*, arXiv:1602.07868, equations 2 and 6.
    """

    def __init__(self, shape: Sequence[int], scale: float, rngs: nnx.Rngs):
        self.init_scale = scale
        self.direction = nnx.Param(_INIT(rngs.params(), tuple(shape), jnp.float32))
        self.scale = nnx.Param(jnp.full(shape[-1], scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(shape[-1], jnp.float32))
        self.is_folded = False

    def kernel(self) -> jax.Array:
        """``[*stack, kh, kw, in, out]``, for one layer or for a stack of them."""
        if self.is_folded:
            return self.direction[...]
        v = self._masked(self.direction[...])
        norm = jnp.sqrt((v * v).sum((-4, -3, -2), keepdims=True))
        return v * (self.scale[...][..., None, None, None, :] / norm)

    def folded(self) -> Self:
        """The same map with the kernel itself in place of ``v``: for loops, which would normalize it in every turn."""
        new = nnx.clone(self)
        new.direction, new.is_folded = nnx.Param(self.kernel()), True
        return new

    def start_from(self, x: jax.Array) -> None:
        """Change this layer so that its outputs on ``x`` have mean 0 and the standard deviation it starts from.

        Every channel of them. For a copy: modules of users do not change.
        """
        self.scale = nnx.Param(jnp.ones_like(self.scale[...]))
        self.bias = nnx.Param(jnp.zeros_like(self.bias[...]))
        out = self(x).astype(self.bias.dtype)
        axes = tuple(range(out.ndim - 1))
        factor = self.init_scale / jnp.sqrt(out.var(axes) + _TINY)
        self.scale, self.bias = nnx.Param(factor), nnx.Param(-out.mean(axes) * factor)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer."""
        raise NotImplementedError

    def _masked(self, direction: jax.Array) -> jax.Array:
        return direction


class CausalConv(NormalizedKernel):
    """A convolution ``[*batch, h, w, in] -> [*batch, h / stride, w / stride, out]`` over the rows up to its own.

    Its kernel ends at the row of the output. Columns: ``"down"``, as many to the left as to the right;
    ``"down_right"``, up to its own; ``"raster"``, as ``"down"`` in the rows above and up to its own in the last row, by
    a mask. Zero padding. A stride of 2 keeps the outputs of even rows and columns.

    Args:
      size: ``(kh, kw)``.
      in_channels: channels of the input.
      out_channels: channels of the output.
      reach: see above.
      stride: of both axes.
      scale: standard deviation of the outputs after the data-dependent start, and norm of a kernel without one.
      rngs: ``nnx.Rngs`` for the initial weights.

    Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517, section 2.3; van den Oord et al., 2016, *Pixel
      recurrent neural networks*, arXiv:1601.06759, section 3.4, for the mask.
    """

    def __init__(
        self,
        size: tuple[int, int],
        in_channels: int,
        out_channels: int,
        *,
        reach: ReceptiveField = "down_right",
        stride: int = 1,
        scale: float = 1.0,
        rngs: nnx.Rngs,
    ):
        super().__init__((*size, in_channels, out_channels), scale, rngs)
        self.size, self.in_channels, self.reach, self.stride = size, in_channels, reach, stride
        width = size[1] - 1
        self.columns = (width, 0) if reach == "down_right" else (width // 2, width - width // 2)

    @property
    def is_pointwise(self) -> bool:
        """Whether it sees its own pixel only."""
        return self.size == (1, 1) and self.stride == 1

    def __call__(self, x: jax.Array) -> jax.Array:
        """Of whole images."""
        return self._convolve(x, self.size[0] - 1)

    def of_rows(self, window: jax.Array) -> jax.Array:
        """The one row of outputs of the ``kh`` rows ``[*batch, kh, w, in]`` it sees."""
        return self._convolve(window, 0)

    def of_pixel(self, window: jax.Array) -> jax.Array:
        """The one output ``[*batch, 1, 1, out]`` of the pixels ``[*batch, kh, kw, in]`` it sees."""
        kernel = self.kernel().astype(window.dtype)
        rows = kernel.reshape(-1, kernel.shape[-1])
        flat = window.reshape(*window.shape[:-3], 1, 1, len(rows))
        return add_bias(flat @ rows, self.bias[...])

    def _convolve(self, x: jax.Array, top: int) -> jax.Array:
        kernel = self.kernel().astype(x.dtype)
        out = conv2d(x, kernel, stride=self.stride, padding=((top, 0), self.columns))
        return add_bias(out, self.bias[...])

    def _masked(self, direction: jax.Array) -> jax.Array:
        if self.reach != "raster":
            return direction
        seen = np.ones((*self.size, 1, 1), bool)
        seen[-1, self.columns[0] + 1 :] = False
        seen = np.broadcast_to(seen, direction.shape)
        return jnp.where(seen, direction, jnp.zeros((), direction.dtype))


class CausalConvTranspose(NormalizedKernel):
    """The transpose of a `CausalConv` of stride 2: ``[*batch, h, w, in] -> [*batch, 2 h, 2 w, out]``.

    Pixel ``(i, j)`` gives rows ``2 i`` and ``2 i + 1``, and columns ``2 j`` and ``2 j + 1``; with ``reach="down"``, for
    streams that may look to the right, also column ``2 j - 1``.
    """

    is_pointwise = True

    def __init__(
        self, in_channels: int, out_channels: int, *, reach: ReceptiveField, rngs: nnx.Rngs
    ):
        self.columns = 3 if reach == "down" else 2
        super().__init__((2, self.columns, in_channels, out_channels), 1.0, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Of whole images, of a row or of a pixel."""
        kernel = self.kernel().astype(x.dtype)
        flat = kernel.transpose(2, 0, 1, 3).reshape(x.shape[-1], -1)
        taps = (x @ flat).reshape(*x.shape[:-1], 2, self.columns, kernel.shape[-1])
        if self.columns == 3:
            back, taps = taps[..., 0, :], taps[..., 1:, :]
            # Column 2 j - 1 is the odd one of the pixel before.
            back = jnp.concatenate([back[..., 1:, :, :], jnp.zeros_like(back[..., :1, :, :])], -3)
            taps = taps.at[..., 1, :].add(back)
        *batch, height, width, _, _, channels = taps.shape
        out = jnp.moveaxis(taps, -3, -4).reshape(*batch, 2 * height, 2 * width, channels)
        return add_bias(out, self.bias[...])
