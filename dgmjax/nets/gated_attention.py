"""The conditioner of Flow++: gated convolutions and self-attention."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import batch_shape
from dgmjax.nets.attention import GatedBlock, GatedConvBranch
from dgmjax.nets.conv import Conv
from dgmjax.nets.mlp import check_compute_dtype
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.sharding import varying

_INIT = nnx.initializers.lecun_normal()
_LAST_INIT = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")
_POSITION_INIT = nnx.initializers.normal(0.01)


class GatedAttentionNet(Module):
    """``[*batch, h, w, c] -> [*batch, h, w, out_channels]``: a 3x3 convolution, ``depth`` blocks, a 3x3 convolution.

    A block is a gated convolution, a layer norm, gated self-attention of all pixels and a layer norm::

        x = norm(x + gate(conv1x1(drop(e(conv3x3(e(x)) + conv1x1(e(context)))))))      e(x) = elu([x, -x])
        x = norm(x + gate(conv1x1(drop(attention(x + position)))))                     gate([a, b]) = a sigmoid(b)

    Blocks are equal, so they are one ``jax.lax.scan`` over stacked parameters: compile time does not grow with
    ``depth``. They share the learned embedding of the positions. The layer norms stand in for the data-dependent
    initialisation of the authors' code. Mixed precision is that of `dgmjax.nets.MLP`, with softmax and layer norms in
    float32.

    Args:
      in_shape: ``(h, w, c)``.
      out_channels: channels of the output.
      width: channels inside; 96 in the paper.
      depth: number of blocks, at least 1; 10 in the paper.
      context_size: channels of the context; 0 for none.
      pixel_context: whether the context is one a pixel, ``[*batch, h, w, k]``; otherwise one an image, ``[*batch, k]``.
      attention: whether blocks have self-attention, whose cost is ``O((h w)^2)``; otherwise an elementwise maximum
        of its queries, keys and values, with as many parameters, as in the paper's ablation.
      num_heads: heads of the attention; divides ``width``.
      dropout: probability of dropping a hidden unit in every branch when a key is given; 0.2 in the paper.
      zero_init: start the last layer at zero; otherwise its outputs have a standard deviation of about 0.1, as in the
        paper.
      remat: gradients that store the input of each block and recompute what is inside.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a shape or number out of range or an unknown name.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, section 3.2, figure 1 and the authors' code.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        *,
        width: int,
        depth: int,
        context_size: int = 0,
        pixel_context: bool = False,
        attention: bool = True,
        num_heads: int = 4,
        dropout: float = 0.0,
        zero_init: bool = True,
        remat: bool = False,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if len(in_shape) != 3:
            raise ValueError(
                f"GatedAttentionNet: expected in_shape (h, w, c), got {tuple(in_shape)}; use MLP for vectors."
            )
        if width < 1 or depth < 1 or out_channels < 1:
            raise ValueError(
                f"GatedAttentionNet: width, depth and out_channels must be at least 1, got {width}, {depth} and "
                f"{out_channels}."
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"GatedAttentionNet: dropout must be in [0, 1), got {dropout}.")
        check_compute_dtype(compute_dtype, where="GatedAttentionNet")
        self.in_shape = tuple(in_shape)
        self.context_size = context_size
        self.pixel_context = pixel_context
        self.depth = depth
        self.remat = remat
        self.compute_dtype = compute_dtype
        channels = self.in_shape[-1]
        self.first = Conv(3, channels, width, init=_INIT, rngs=rngs)
        blocks = [
            GatedBlock(
                width,
                context_size=context_size,
                attention=attention,
                num_heads=num_heads,
                dropout=dropout,
                rngs=rngs,
            )
            for _ in range(depth)
        ]
        self.blocks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
        shape = (*self.in_shape[:2], width)
        self.position = nnx.Param(_POSITION_INIT(rngs.params(), shape, jnp.float32))
        init = nnx.initializers.zeros if zero_init else _LAST_INIT
        self.last = Conv(3, width, out_channels, init=init, rngs=rngs)

    @compiled
    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Apply the network; ``key``, one or one an example, switches dropout on.

        Raises:
          ValueError: images or a context of another shape than announced, or no context where one is needed.
        """
        batch_shape(x, self.in_shape, where="GatedAttentionNet")
        dtype = x.dtype if self.compute_dtype is None else jnp.dtype(self.compute_dtype)
        context = self._context(context, dtype)
        position = self.position[...]

        def body(x: jax.Array, step: tuple[jax.Array, GatedBlock]) -> tuple[jax.Array, None]:
            index, block = step
            block_key = prng.fold_in(key, index)
            return block(x, position, context, key=block_key), None

        body = jax.checkpoint(body) if self.remat else body
        hidden = self.first(x.astype(dtype))
        hidden = varying(hidden, self.blocks, context, key)
        hidden, _ = jax.lax.scan(body, hidden, (jnp.arange(self.depth), self.blocks))
        return self.last(hidden).astype(x.dtype)

    def _context(self, context: jax.Array | None, dtype: jnp.dtype) -> jax.Array | None:
        """The context as ``[*batch, h, w, k]``, or ``[*batch, 1, 1, k]``."""
        if (context is not None) != (self.context_size > 0):
            raise ValueError(
                f"GatedAttentionNet: expected {'a' if self.context_size else 'no'} context, since context_size is "
                f"{self.context_size}, got {'none' if context is None else context.shape}."
            )
        if context is None:
            return None
        shape = (
            (*self.in_shape[:2], self.context_size) if self.pixel_context else (self.context_size,)
        )
        batch_shape(context, shape, where="GatedAttentionNet, context")
        context = context.astype(dtype)
        return context if self.pixel_context else context[..., None, None, :]


class GatedConvEncoder(Module):
    """``[*batch, h, w, c] -> [*batch, h, w, width]``: a 3x3 convolution and ``depth`` gated convolutions (3x3, 3x3).

    What Flow++ makes of the integer image, once, as the context of its dequantization flow.

    Args:
      channels: of the images.
      width: channels of the result; 32 in the paper's code.
      depth: number of gated convolutions; 3 in the paper's code.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, the authors' code.
    """

    def __init__(self, channels: int, *, width: int, depth: int, rngs: nnx.Rngs):
        self.first = Conv(3, channels, width, init=_INIT, rngs=rngs)
        self.blocks = nnx.List(
            [GatedConvBranch(width, last_size=3, rngs=rngs) for _ in range(depth)]
        )

    @compiled
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the network, in the dtype of ``x``."""
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x
