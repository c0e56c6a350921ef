"""PixelCNN++, Gated PixelCNN and PixelCNN: one network of a horizontal stream that a vertical one feeds."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.data_init import data_init_once, not_initialised
from dgmjax.nets.mlp import check_compute_dtype
from dgmjax.nets.pixelcnn.blocks import CausalBlock, GatedConv, GatedResidual, MaskedResidual
from dgmjax.nets.pixelcnn.cache import CachedPixel, CachedRow, PixelConvs, RowConvs
from dgmjax.nets.pixelcnn.conv import CausalConv, ReceptiveField
from dgmjax.nets.pixelcnn.stream import CausalStream
from dgmjax.nets.pixelcnn.whole_image import DataDependentInit, WholeImage
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

Variant = Literal["pixelcnnpp", "gated", "plain"]

# Block, and kernel and reach of its vertical (if any) and of its horizontal stream.
_Sizes = tuple[tuple[int, int] | None, tuple[int, int], ReceptiveField]
_VARIANTS: dict[str, tuple[type[CausalBlock], _Sizes]] = {
    "pixelcnnpp": (GatedResidual, ((2, 3), (2, 2), "down_right")),
    "gated": (GatedConv, ((2, 3), (1, 2), "down_right")),
    "plain": (MaskedResidual, (None, (2, 3), "raster")),
}


class PixelCNN(Module):
    """``[batch, h, w, c] -> [batch, h, w, out_channels]``; outputs at a pixel see the pixels before it in raster order.

    The image gets a channel of ones, which tells it from the padding. At row ``i`` the vertical stream sees rows
    before ``i``; the horizontal stream also sees the pixels to the left in row ``i``, and at every block the vertical
    stream. Both start from convolutions over shifted images: nothing after them needs a shift. The older two variants
    start and end as PixelCNN++ does; in their papers they start from 7x7 convolutions and end in two 1x1 ones.

    Args:
      in_channels: ``c``.
      out_channels: of the last, 1x1, convolution.
      variant: ``"pixelcnnpp"``: `GatedResidual` blocks, vertical convolutions 2x3 and horizontal ones 2x2, in
        several resolutions with skip connections; ``"gated"``: `GatedConv` blocks, 2x3 and 1x2; ``"plain"``:
        `MaskedResidual` blocks of masked 3x3 convolutions and no vertical stream, whose field has a blind spot to the
        right.
      resolutions: number of resolutions; 1 but for ``"pixelcnnpp"``.
      depth: blocks of a resolution on the way down.
      width: channels.
      dropout: probability of dropping a unit inside a block when a key is given.
      context_size: length of the context vector, projected in every block; 0 for none.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a number out of range or an unknown name.

    Source: Salimans et al., 2017, arXiv:1701.05517; van den Oord et al., 2016, arXiv:1606.05328 and arXiv:1601.06759.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        variant: Variant = "pixelcnnpp",
        resolutions: int = 3,
        depth: int = 5,
        width: int = 160,
        dropout: float = 0.0,
        context_size: int = 0,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if variant not in _VARIANTS:
            raise ValueError(
                f"PixelCNN: variant: expected one of {list(_VARIANTS)}, got {variant!r}."
            )
        if min(resolutions, depth, width) < 1:
            raise ValueError(
                f"PixelCNN: resolutions, depth and width must be at least 1, got {resolutions}, {depth} and {width}."
            )
        if resolutions > 1 and variant != "pixelcnnpp":
            raise ValueError(
                f"PixelCNN: only 'pixelcnnpp' has several resolutions; use resolutions=1 with {variant!r}, got "
                f"{resolutions}."
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"PixelCNN: dropout must be in [0, 1), got {dropout}.")
        check_compute_dtype(compute_dtype, where="PixelCNN")
        self.compute_dtype = compute_dtype
        self.data_initialised = not_initialised()
        block, (above, beside, reach) = _VARIANTS[variant]

        def stream(size: tuple[int, int], reach: ReceptiveField, *, is_fed: bool) -> CausalStream:
            make_block = functools.partial(
                block,
                width,
                size=size,
                reach=reach,
                dropout=dropout,
                context_size=context_size,
                rngs=rngs,
            )
            return CausalStream(
                make_block,
                resolutions=resolutions,
                depth=depth,
                width=width,
                size=size,
                reach=reach,
                is_fed=is_fed,
                is_u_net=block.is_u_net,
                rngs=rngs,
            )

        conv = functools.partial(CausalConv, in_channels=in_channels + 1, out_channels=width)
        self.above = conv((1, 3), reach="down", rngs=rngs)
        self.left = conv((2, 1), rngs=rngs)
        self.start = nnx.data(None)
        self.vertical = nnx.data(None)
        if above is not None:
            self.start = conv((2, 3), reach="down", rngs=rngs)
            self.vertical = stream(above, "down", is_fed=False)
        self.horizontal = stream(beside, reach, is_fed=above is not None)
        # Small outputs: the distributions of pixels start near what outputs of 0 mean.
        self.last = CausalConv((1, 1), width, out_channels, scale=0.1, rngs=rngs)

    @compiled
    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """All outputs in one pass; ``key``, one or one an example, switches dropout on."""
        return self._whole(x, context, key, WholeImage())

    @data_init_once
    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> "PixelCNN":
        """A new network whose convolutions start, on this batch, from outputs of mean 0 and equal variance a channel.

        Source: Salimans and Kingma, 2016, arXiv:1602.07868, section 3.
        """
        return _with_data_init(self, x, context)

    def encode(self, x: jax.Array) -> jax.Array:
        """The image in the dtype of the computation, with the channel of ones."""
        if self.compute_dtype is not None:
            x = x.astype(self.compute_dtype)
        return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)

    def row(
        self, above: jax.Array, context: jax.Array | None, row: jax.Array, cache: Any
    ) -> tuple[Any, Any]:
        """Features of row ``row`` for `pixel`, and the cache for the next, from the encoded row before it."""
        features, new = {"start": self.above(above), "stream": None}, dict(cache)
        if self.vertical is not None:
            convs = RowConvs([cache["start"]])
            x = convs(self.start, above)
            _, features["stream"], new["stream"] = self.vertical(
                x, None, context, mode=CachedRow(row), cache=cache["stream"]
            )
            (new["start"],) = convs.inputs
        return features, new

    def pixel(
        self,
        left: jax.Array,
        features: Any,
        context: jax.Array | None,
        place: tuple[jax.Array, jax.Array],
        windows: Any,
    ) -> tuple[jax.Array, Any]:
        """Outputs ``[batch, 1, 1, out]`` at ``place`` and what to cache, from the encoded pixel to the left."""
        convs = PixelConvs([windows["left"]])
        x = features["start"] + convs(self.left, left)
        x, _, entries = self.horizontal(
            x, features["stream"], context, mode=CachedPixel(*place), cache=windows["stream"]
        )
        return self._head(x, convs), {"left": convs.inputs[0], "stream": entries}

    def _whole(
        self, x: jax.Array, context: jax.Array | None, key: jax.Array | None, mode: WholeImage
    ) -> jax.Array:
        encoded, convs = self.encode(x), mode.convs(None)
        keys: list[jax.Array | None] = [None, None] if key is None else [*prng.split(key)]
        above, left = _shifted(encoded, axis=-3), _shifted(encoded, axis=-2)
        features = None
        if self.vertical is not None:
            start = convs(self.start, above)
            _, features, _ = self.vertical(start, None, context, key=keys[0], mode=mode)
        hidden = convs(self.above, above) + convs(self.left, left)
        hidden, _, _ = self.horizontal(hidden, features, context, key=keys[1], mode=mode)
        return self._head(hidden, convs).astype(x.dtype)

    def _head(self, hidden: jax.Array, convs: Any) -> jax.Array:
        return convs(self.last, jax.nn.elu(hidden))


def _shifted(x: jax.Array, *, axis: int) -> jax.Array:
    """One pixel down or to the right, zeros in its place."""
    kept = jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
    zeros = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
    return jnp.concatenate([zeros, kept], axis=axis)


# A jitted function meets a copy, which may be changed.
@jax.jit
def _with_data_init(net: PixelCNN, x: jax.Array, context: jax.Array | None) -> PixelCNN:
    net._whole(x, context, None, DataDependentInit())
    return net
