"""Images to vectors: the convolutional encoder of variational autoencoders."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.squeeze import squeeze
from dgmjax.checks import batch_shape
from dgmjax.nets.conv_blocks import (
    ConvKind,
    KindedConv,
    apply_blocks,
    check_conv_settings,
    compute_dtype_of,
    finish,
    make_blocks,
)
from dgmjax.nets.gates import gate
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled

_HIDDEN_INIT = nnx.initializers.he_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


class ConvEncoder(Module):
    """``[*batch, h, w, c] -> [*batch, out_size]``: convolutions at resolutions that halve, then two dense layers.

    At every resolution one convolution to the width of it and ``depth`` blocks; between them the sides halve::

        gated      gate(conv(x));  blocks  gate(conv5x5(x));                gate([a, b]) = a sigmoid(b)
        residual   conv(x);        blocks  x + conv3x3(elu(conv3x3(elu(x))))

    and last a dense layer of ``hidden`` units, gated or ``elu``, and a linear one. A halving makes blocks of 2x2 pixels
    the channels of one (`dgmjax.bijectors.squeeze`), before a 3x3 convolution: a 6x6 kernel of stride 2, whose gradient
    needs no transposed convolution. Mixed precision is that of `dgmjax.nets.MLP`.

    Args:
      in_shape: ``(h, w, c)``.
      out_size: length of the output.
      widths: channels at each resolution, the finest first; ``len(widths) - 1`` halvings, so 28x28 takes up to 3.
      depth: blocks at each resolution, at least 1.
      kind: ``"gated"`` or ``"residual"``.
      hidden: units of the dense layer; 256 in the paper.
      dropout: probability of dropping a hidden unit of every block when a key is given.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, sides that cannot be halved, a number out of range or an unknown name.

    Source: gated: after van den Berg et al., 2018, *Sylvester normalizing flows*, arXiv:1803.05649, and the authors'
      code, whose strided convolutions are 5x5; residual: after Kingma et al., 2016, arXiv:1606.04934, whose blocks are
      pre-activation blocks with ``elu``.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_size: int,
        *,
        widths: Sequence[int] = (32, 64),
        depth: int = 1,
        kind: ConvKind = "gated",
        hidden: int = 256,
        dropout: float = 0.0,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        check_conv_settings(
            "ConvEncoder",
            in_shape,
            widths,
            depth,
            kind=kind,
            dropout=dropout,
            compute_dtype=compute_dtype,
        )
        if len(in_shape) != 3 or hidden < 1:
            raise ValueError(
                f"ConvEncoder: expected images (h, w, c) and hidden of at least 1, got {tuple(in_shape)} and {hidden}."
            )
        self.in_shape = tuple(in_shape)
        self.out_shape = (out_size,)
        self.kind = kind
        self.compute_dtype = compute_dtype
        height, width, channels = self.in_shape
        inputs = [channels, *(4 * above for above in widths[:-1])]
        sizes = [5 if kind == "gated" else 3] + [3] * (len(widths) - 1)
        self.moves = nnx.List(
            [
                KindedConv(kind, size, num, out, rngs=rngs)
                for size, num, out in zip(sizes, inputs, widths, strict=True)
            ]
        )
        self.blocks = make_blocks(kind, widths, depth, dropout=dropout, rngs=rngs)
        shrunk = 2 ** (len(widths) - 1)
        features = math.prod((height // shrunk, width // shrunk, widths[-1]))
        dtype = None if compute_dtype is None else jnp.dtype(compute_dtype)
        units = 2 * hidden if kind == "gated" else hidden
        self.dense = nnx.Linear(features, units, kernel_init=_HIDDEN_INIT, dtype=dtype, rngs=rngs)
        self.last = nnx.Linear(hidden, out_size, kernel_init=_LAST_INIT, dtype=dtype, rngs=rngs)

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Apply the network; ``key``, one or one an example, switches dropout on.

        Raises:
          ValueError: images of another shape than announced.
        """
        batch = batch_shape(x, self.in_shape, where="ConvEncoder")
        hidden = x.astype(compute_dtype_of(x, self.compute_dtype))
        for level, (move, blocks) in enumerate(zip(self.moves, self.blocks, strict=True)):
            hidden = move(squeeze(hidden, order="outer") if level else hidden)
            hidden = apply_blocks(blocks, hidden, key, level)
        hidden = finish(self.kind, hidden)
        hidden = self.dense(hidden.reshape(*batch, math.prod(hidden.shape[-3:])))
        hidden = gate(hidden) if self.kind == "gated" else jax.nn.elu(hidden)
        return self.last(hidden).astype(x.dtype)
