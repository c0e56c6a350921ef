"""A masked convolutional network of images with a context at every pixel."""

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.pixelcnn.conv import CausalConv
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled


class CausalConvNet(Module):
    """``[*batch, h, w, c] -> [*batch, h, w, out]``: outputs at a pixel see the pixels before it in raster order.

    And the context at all pixels up to it. So the Jacobian of the outputs by the image is strictly lower triangular in
    blocks of pixels; the channels of a pixel do not see each other. The first layer joins convolutions of the image
    shifted down, over three columns, and shifted to the right; then come masked 3x3 convolutions, `elu` between::

        h = elu(above(x) + left(x) + context),  h = elu(conv(h)) ...,  out = conv1x1(h)

    Args:
      in_channels: ``c``.
      out_channels: of the last convolution.
      width: channels in between, and of the context.
      depth: hidden layers, at least 1.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a number below 1.

    Source: Kingma et al., 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934,
      appendix, and the authors' code, whose masks also let a channel see the channels before it; the weight
      normalization: Salimans and Kingma, 2016, arXiv:1602.07868.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int, depth: int = 2, rngs: nnx.Rngs
    ):
        if min(in_channels, out_channels, width, depth) < 1:
            raise ValueError(
                f"CausalConvNet: expected channels, width and depth of at least 1, got {in_channels}, {out_channels}, "
                f"{width} and {depth}."
            )
        self.above = CausalConv((1, 3), in_channels, width, reach="down", rngs=rngs)
        self.left = CausalConv((2, 1), in_channels, width, rngs=rngs)
        self.hidden = nnx.List(
            [CausalConv((2, 3), width, width, reach="raster", rngs=rngs) for _ in range(depth - 1)]
        )
        self.last = CausalConv((1, 1), width, out_channels, rngs=rngs)

    @compiled
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        """Apply the network to ``[*batch, h, w, c]`` and the context ``[*batch, h, w, width]``."""
        hidden = self.above(_shifted(x, axis=-3)) + self.left(_shifted(x, axis=-2))
        hidden = jax.nn.elu(hidden + context.astype(x.dtype))
        for conv in self.hidden:
            hidden = jax.nn.elu(conv(hidden))
        return self.last(hidden)


def _shifted(x: jax.Array, *, axis: int) -> jax.Array:
    """One pixel down or to the right, zeros in its place."""
    kept = jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
    zeros = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
    return jnp.concatenate([zeros, kept], axis=axis)
