"""Self-attention of the pixels of images, and the parts of networks that use it: layer norm, gates, concat-ELU."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import widened
from dgmjax.nets.conv import Conv
from dgmjax.nets.gates import concat_elu, gate
from dgmjax.nets.mlp import dropout
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng

_INIT = nnx.initializers.lecun_normal()
# Outputs of a residual branch with a standard deviation of 0.1: a deep network starts near the identity.
_BRANCH_INIT = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")
_LAYER_NORM_EPS = 1e-5


# Not `jax.nn.dot_product_attention`, whose softmax is in float32 for float64 too, and which strict dtype promotion
# refuses for all but float32.
def attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """``softmax_k(q_i k_j / sqrt(d)) v_j`` for every head, ``[*batch, n, heads, d]`` of each argument and the result.

    Scores and softmax are in float32 if the arguments have 16 bits.

    Source: Vaswani et al., 2017, *Attention is all you need*, arXiv:1706.03762, equation 1.
    """
    wide = jnp.float32 if query.dtype.itemsize < 4 else query.dtype
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key, preferred_element_type=wide)
    weights = jax.nn.softmax(scores / math.sqrt(query.shape[-1]), axis=-1).astype(value.dtype)
    return jnp.einsum("...hqk,...khd->...qhd", weights, value)


# Not `nnx.LayerNorm`, which promotes what it normalizes to float32 and refuses all other dtypes under strict dtype
# promotion.
class LayerNorm(Module):
    """``(x - mean) / sqrt(var + 1e-5) scale + bias`` over the channels of a pixel; in float32 for 16-bit ``x``.

    Source: Ba et al., 2016, *Layer normalization*, arXiv:1607.06450.
    """

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize the last axis of ``[..., channels]``."""
        wide = widened(x)
        centred = wide - wide.mean(-1, keepdims=True)
        normal = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + _LAYER_NORM_EPS)
        scale, bias = (
            jnp.broadcast_to(param[...].astype(wide.dtype), wide.shape)
            for param in (self.scale, self.bias)
        )
        return (normal * scale + bias).astype(x.dtype)


class GatedConvBranch(Module):
    """``x + gate(conv(drop(e(conv3x3(e(x)) + conv1x1(e(context))))))`` with ``e`` the concatenated ELU.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, section 3.2 and the authors' code; Salimans et al., 2017,
      *PixelCNN++*, arXiv:1701.05517.
    """

    def __init__(
        self,
        channels: int,
        *,
        context_size: int = 0,
        last_size: int = 1,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.first = Conv(3, 2 * channels, channels, init=_INIT, rngs=rngs)
        self.context = nnx.data(None)
        if context_size:
            self.context = Conv(1, 2 * context_size, channels, init=_INIT, bias=False, rngs=rngs)
        self.last = Conv(
            last_size,
            2 * channels,
            2 * channels,
            init=_BRANCH_INIT,
            rngs=rngs,
        )
        self.dropout = dropout

    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``[*batch, h, w, c]`` of the same shape; ``context`` is ``[*batch, h, w, k]`` or broadcasts to it."""
        hidden = self.first(concat_elu(x))
        if context is not None and self.context is not None:
            hidden = hidden + jnp.broadcast_to(self.context(concat_elu(context)), hidden.shape)
        hidden = concat_elu(hidden)
        if key is not None and self.dropout > 0.0:
            hidden = dropout(hidden, self.dropout, key)
        return x + gate(self.last(hidden))


class GatedAttention(Module):
    """``x + gate(W_out drop(attention(q, k, v)))`` with ``q, k, v = W_in (x + position)``: all pixels see all others.

    Without ``attend`` the elementwise maximum of ``q``, ``k`` and ``v`` stands in its place, with as many parameters:
    the ablation of the paper.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, sections 3.2 and 4.2 and the authors' code.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        attend: bool = True,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        if num_heads < 1 or channels % num_heads:
            raise ValueError(
                f"GatedAttention: num_heads must divide the {channels} channels, got {num_heads}."
            )
        self.first = Conv(1, channels, 3 * channels, init=_INIT, rngs=rngs)
        self.last = Conv(1, channels, 2 * channels, init=_BRANCH_INIT, rngs=rngs)
        self.num_heads = num_heads
        self.attend = attend
        self.dropout = dropout

    def __call__(
        self, x: jax.Array, position: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``[*batch, h, w, c]`` of the same shape; ``position`` is the embedding ``[h, w, c]``."""
        *batch, height, width, channels = x.shape
        joint = self.first(x + jnp.broadcast_to(position.astype(x.dtype), x.shape))
        parts = jnp.split(joint, 3, axis=-1)
        if self.attend:
            shape = (*batch, height * width, self.num_heads, channels // self.num_heads)
            hidden = attention(*(part.reshape(shape) for part in parts)).reshape(x.shape)
        else:
            hidden = jnp.maximum(jnp.maximum(parts[0], parts[1]), parts[2])
        if key is not None and self.dropout > 0.0:
            hidden = dropout(hidden, self.dropout, key)
        return x + gate(self.last(hidden))


class GatedBlock(Module):
    """A gated convolution, a layer norm, gated self-attention and another layer norm."""

    def __init__(
        self,
        channels: int,
        *,
        context_size: int,
        attention: bool,
        num_heads: int,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        self.conv = GatedConvBranch(channels, context_size=context_size, dropout=dropout, rngs=rngs)
        self.norm = LayerNorm(channels)
        self.attention = GatedAttention(
            channels, num_heads=num_heads, attend=attention, dropout=dropout, rngs=rngs
        )
        self.last_norm = LayerNorm(channels)

    def __call__(
        self,
        x: jax.Array,
        position: jax.Array,
        context: jax.Array | None,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """``[*batch, h, w, c]`` of the same shape."""
        keys = [None, None] if key is None else [prng.fold_in(key, index) for index in range(2)]
        x = self.norm(self.conv(x, context, key=keys[0]))
        return self.last_norm(self.attention(x, position, key=keys[1]))
