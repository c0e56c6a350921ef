"""Convolutions of images; Glow's: an indicator of the edge, a learned scale of the output."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.conv import conv2d

Initializer = Callable[..., jax.Array]

_LAST_INIT = nnx.initializers.lecun_normal()
_LOG_SCALE_FACTOR = 3.0


# Not `nnx.Conv`: in the body of a `jax.lax.scan` on the CPU its gradient takes some 20 times as long as that of
# `dgmjax.numerics.conv.conv2d`, and it promotes images of 16 or 64 bits with its float32 weights, which strict dtype
# promotion refuses and mixed precision does not want. It has no indicator of the edge either.
class Conv(Module):
    """A convolution with zero padding, with a bias and an indicator of the edge if wanted.

    The indicator is a channel that is 0 in the image and 1 in the padding around it. What it adds is the same for
    every image of a size, so it is computed apart, from its own slice of the kernel.

    Args:
      size: of the kernel, in both axes.
      in_channels: of the input.
      out_channels: of the output.
      init: initializer of the kernel.
      edge: whether there is an indicator of the edge; only with a stride of 1.
      bias: whether there is a bias.
      stride: of both axes.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.
    """

    def __init__(
        self,
        size: int,
        in_channels: int,
        out_channels: int,
        *,
        init: Initializer,
        edge: bool = False,
        bias: bool = True,
        stride: int = 1,
        rngs: nnx.Rngs,
    ):
        assert stride == 1 or not edge
        self.stride = stride
        shape = (size, size, in_channels + edge, out_channels)
        kernel = init(rngs.params(), shape, jnp.float32)
        self.kernel = nnx.Param(kernel[:, :, :in_channels])
        self.edge = nnx.Param(kernel[:, :, in_channels:]) if edge else nnx.data(None)
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32)) if bias else nnx.data(None)

    def __call__(self, x: jax.Array, *, scale: jax.Array | None = None) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h / stride, w / stride, out_channels]`` in the dtype of ``x``.

        A ``scale`` of the output, one number a channel, multiplies the weights instead: the gradient of the scale is
        then a sum over them, where over all pixels of a batch it can cost more than the convolution (XLA on the CPU).
        """

        def weights(param: nnx.Param) -> jax.Array:
            value = param[...]
            if scale is not None:
                value = value * jnp.broadcast_to(scale, value.shape)
            return value.astype(x.dtype)

        out = conv2d(x, weights(self.kernel), stride=self.stride)
        if self.edge is not None:
            edge = weights(self.edge)
            taps = jnp.asarray(_outside(x.shape[-3:-1], edge.shape[0]), x.dtype)
            out = out + jnp.broadcast_to(taps @ edge.reshape(-1, edge.shape[-1]), out.shape)
        return out if self.bias is None else add_bias(out, weights(self.bias))


class ZeroConv(Conv):
    """``(conv3x3(x) + bias) exp(3 log_scale)``, one ``bias`` and ``log_scale`` an output channel; zero at first.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.3 and the authors' code: the last layer of
    their conditioners, and the network of their learned priors.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        edge: bool = True,
        zero_init: bool = True,
        rngs: nnx.Rngs,
    ):
        init = nnx.initializers.zeros if zero_init else _LAST_INIT
        super().__init__(3, in_channels, out_channels, init=init, edge=edge, rngs=rngs)
        self.log_scale = nnx.Param(jnp.zeros(out_channels, jnp.float32))

    @compiled
    def __call__(  # type: ignore[override]
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """As the convolution it is; ``key`` is not used."""
        del key
        return super().__call__(x, scale=jnp.exp(_LOG_SCALE_FACTOR * self.log_scale[...]))


def add_bias(x: jax.Array, bias: jax.Array | None) -> jax.Array:
    """``x + bias`` in the dtype of ``x``, or ``x`` without one."""
    return x if bias is None else x + jnp.broadcast_to(bias.astype(x.dtype), x.shape)


def _outside(shape: tuple[int, ...], size: int) -> np.ndarray:
    """``[h, w, size * size]``: 1 for the taps of a kernel at a pixel that lie outside the image."""
    padded = np.pad(np.zeros(shape), size // 2, constant_values=1.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return windows.reshape(*shape, size * size)
