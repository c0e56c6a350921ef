"""Vectors to images: the convolutional decoder of variational autoencoders."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.squeeze import unsqueeze
from dgmjax.checks import batch_shape
from dgmjax.nets.conv import Conv
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

_GATED_INIT = nnx.initializers.he_normal()
_LINEAR_INIT = nnx.initializers.lecun_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


class ConvDecoder(Module):
    """``[*batch, in_size] -> [*batch, h, w, *rest]``: a dense layer, then convolutions at resolutions that double.

    The mirror image of `dgmjax.nets.ConvEncoder` with the same ``widths``, ``depth`` and ``kind``: a dense layer, gated
    or linear, to the coarsest resolution; at every resolution ``depth`` blocks; between them a 3x3 convolution to four
    times the channels, which become blocks of 2x2 pixels (`dgmjax.bijectors.unsqueeze`), instead of a transposed
    convolution; last a 1x1 convolution. Mixed precision is that of `dgmjax.nets.MLP`.

    Args:
      in_size: length of the input vector.
      out_shape: of the output of one example: ``(h, w, c)``, or with further axes ``(h, w, c, n)``.
      widths: channels at each resolution, the finest first; ``len(widths) - 1`` doublings.
      depth: blocks at each resolution, at least 1.
      kind: ``"gated"`` or ``"residual"``.
      dropout: probability of dropping a hidden unit of every block when a key is given.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, sides that cannot be halved, a number out of range or an unknown name.

    Source: as `dgmjax.nets.ConvEncoder`; channels that become pixels: Shi et al., 2016, arXiv:1609.05158.
    """

    def __init__(
        self,
        in_size: int,
        out_shape: Sequence[int],
        *,
        widths: Sequence[int] = (32, 64),
        depth: int = 1,
        kind: ConvKind = "gated",
        dropout: float = 0.0,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        check_conv_settings(
            "ConvDecoder",
            out_shape,
            widths,
            depth,
            kind=kind,
            dropout=dropout,
            compute_dtype=compute_dtype,
        )
        self.in_size = in_size
        self.out_shape = tuple(out_shape)
        self.kind = kind
        self.compute_dtype = compute_dtype
        shrunk = 2 ** (len(widths) - 1)
        self.grid = (out_shape[0] // shrunk, out_shape[1] // shrunk, widths[-1])
        dtype = None if compute_dtype is None else jnp.dtype(compute_dtype)
        units = math.prod(self.grid)
        units = 2 * units if kind == "gated" else units
        init = _GATED_INIT if kind == "gated" else _LINEAR_INIT
        self.dense = nnx.Linear(in_size, units, kernel_init=init, dtype=dtype, rngs=rngs)
        self.blocks = make_blocks(kind, widths, depth, dropout=dropout, rngs=rngs)
        self.moves = nnx.List(
            [
                KindedConv(kind, 3, below, 4 * above, rngs=rngs)
                for above, below in zip(widths[:-1], widths[1:], strict=True)
            ]
        )
        channels = math.prod(self.out_shape[2:])
        self.last = Conv(1, widths[0], channels, init=_LAST_INIT, rngs=rngs)

    @compiled
    def __call__(self, z: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Apply the network; ``key``, one or one an example, switches dropout on.

        Raises:
          ValueError: vectors of another length than announced.
        """
        batch = batch_shape(z, (self.in_size,), where="ConvDecoder")
        dtype = compute_dtype_of(z, self.compute_dtype)
        hidden = self.dense(z.astype(dtype)).astype(dtype)
        hidden = gate(hidden) if self.kind == "gated" else hidden
        hidden = hidden.reshape(*batch, *self.grid)
        for level in reversed(range(len(self.blocks))):
            hidden = apply_blocks(self.blocks[level], hidden, key, level)
            if level:
                hidden = unsqueeze(self.moves[level - 1](hidden), order="outer")
        out = self.last(finish(self.kind, hidden))
        return out.reshape(*batch, *self.out_shape).astype(z.dtype)
