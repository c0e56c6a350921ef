"""What convolutional encoders and decoders are made of: two kinds of layers, gated and residual."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.conv import Conv
from dgmjax.nets.gates import gate
from dgmjax.nets.mlp import check_compute_dtype, dropout
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng

ConvKind = Literal["gated", "residual"]

CONV_KINDS: tuple[ConvKind, ...] = ("gated", "residual")

# Of maps that follow an activation, and of those that follow none: both keep the variance.
_INIT = nnx.initializers.he_normal()
_LINEAR_INIT = nnx.initializers.lecun_normal()
# Outputs of a residual branch with a tenth of the variance of its input: a deep network does not explode.
_BRANCH_INIT = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")


class KindedConv(Module):
    """A convolution from one width to another: gated, ``a sigmoid(b)``, or, in residual networks, plain.

    ``activated`` says that its input comes out of an activation, which sets the scale of the initial weights.
    """

    def __init__(
        self,
        kind: ConvKind,
        size: int,
        in_channels: int,
        out_channels: int,
        *,
        activated: bool = False,
        rngs: nnx.Rngs,
    ):
        self.gated = kind == "gated"
        outputs = 2 * out_channels if self.gated else out_channels
        init = _INIT if self.gated or activated else _LINEAR_INIT
        self.conv = Conv(size, in_channels, outputs, init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h, w, out_channels]``."""
        out = self.conv(x)
        return gate(out) if self.gated else out


class ConvBlock(Module):
    """``drop(gate(conv5x5(x)))``, or the pre-activation block ``x + conv3x3(drop(e(conv3x3(e(x)))))`` with ``e = elu``.

    Source: gated: van den Berg et al., 2018, *Sylvester normalizing flows*, arXiv:1803.05649, the authors' code;
      residual: He et al., 2016, *Identity mappings in deep residual networks*, arXiv:1603.05027.
    """

    def __init__(self, kind: ConvKind, width: int, *, dropout: float, rngs: nnx.Rngs):
        self.dropout = dropout
        self.outer = nnx.data(None)
        if kind == "gated":
            self.inner = KindedConv(kind, 5, width, width, rngs=rngs)
            return
        self.inner = KindedConv(kind, 3, width, width, activated=True, rngs=rngs)
        self.outer = Conv(3, width, width, init=_BRANCH_INIT, rngs=rngs)

    def __call__(self, x: jax.Array, *, key: jax.Array | None) -> jax.Array:
        """``[*batch, h, w, width]`` in and out; ``key`` switches dropout on."""
        if self.outer is None:
            return self._drop(self.inner(x), key)
        hidden = jax.nn.elu(self.inner(jax.nn.elu(x)))
        return x + self.outer(self._drop(hidden, key))

    def _drop(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        if key is None or self.dropout == 0.0:
            return x
        return dropout(x, self.dropout, key)


def make_blocks(
    kind: ConvKind, widths: Sequence[int], depth: int, *, dropout: float, rngs: nnx.Rngs
) -> nnx.List:
    """``depth`` blocks for every width, as lists in a list."""
    return nnx.List(
        [
            nnx.List([ConvBlock(kind, width, dropout=dropout, rngs=rngs) for _ in range(depth)])
            for width in widths
        ]
    )


def apply_blocks(
    blocks: Sequence[ConvBlock], x: jax.Array, key: jax.Array | None, level: int
) -> jax.Array:
    """One block after the other, those of ``level`` with keys of their own."""
    key = prng.fold_in(key, level)
    for index, block in enumerate(blocks):
        x = block(x, key=prng.fold_in(key, index))
    return x


def check_conv_settings(
    name: str,
    shape: Sequence[int],
    widths: Sequence[int],
    depth: int,
    *,
    kind: str,
    dropout: float,
    compute_dtype: str | None,
) -> None:
    """Reject what encoder and decoder cannot be built from.

    Raises:
      ValueError: no image, sides that cannot be halved, a number out of range or an unknown name.
    """
    halvings = len(widths) - 1
    if len(shape) < 3 or any(side % 2 ** max(halvings, 0) for side in shape[:2]):
        raise ValueError(
            f"{name}: expected images (h, w, c) with sides divisible by {2 ** max(halvings, 0)} for {len(widths)} "
            f"widths, got {tuple(shape)}; give fewer widths, one a resolution, or pad the images."
        )
    if not widths or min(widths) < 1 or depth < 1:
        raise ValueError(
            f"{name}: expected at least one width, all at least 1, and a depth of at least 1, got widths "
            f"{tuple(widths)} and depth {depth}."
        )
    if kind not in CONV_KINDS:
        raise ValueError(f"{name}: kind: expected one of {list(CONV_KINDS)}, got {kind!r}.")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"{name}: dropout must be in [0, 1), got {dropout}.")
    check_compute_dtype(compute_dtype, where=name)


def finish(kind: str, x: jax.Array) -> jax.Array:
    """The activation before a linear map, which residual blocks leave to what follows; gated ones have theirs."""
    return x if kind == "gated" else jax.nn.elu(x)


def compute_dtype_of(x: jax.Array, name: str | None) -> jnp.dtype:
    """The dtype in which a network computes: that of its input, or the one of mixed precision."""
    return x.dtype if name is None else jnp.dtype(name)
