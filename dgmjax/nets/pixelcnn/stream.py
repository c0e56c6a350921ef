"""A stream of a pixel network: blocks at falling resolutions and, with U-Net skip connections, back up."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.pixelcnn.blocks import CausalBlock
from dgmjax.nets.pixelcnn.conv import CausalConv, CausalConvTranspose, ReceptiveField
from dgmjax.nets.pixelcnn.whole_image import WholeImage
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.sharding import varying

# make_block(extra=channels of a second input) -> one block
MakeBlock = Callable[..., CausalBlock]


class Resize(Module):
    """Downsampling to half the resolution by a strided convolution, and upsampling by a transposed one."""

    def __init__(self, size: tuple[int, int], width: int, *, reach: ReceptiveField, rngs: nnx.Rngs):
        self.shrink = CausalConv(size, width, width, reach=reach, stride=2, rngs=rngs)
        self.grow = CausalConvTranspose(width, width, reach=reach, rngs=rngs)


class CausalStream(Module):
    """``resolutions`` times ``depth`` blocks, each half the resolution of the one before, and a U-Net back up.

    Blocks of a resolution are one stacked module and one ``jax.lax.scan``, so compile time is that of one block
    whatever the depth. On the way up a block has, by a skip connection, the output of its counterpart on the way down
    as extra input; there is one block more than on the way down, for what entered the resolution. Without a U-Net there
    is one resolution and no way up.

    Args:
      make_block: ``make_block(extra=channels)`` returns one block; all with equal settings.
      resolutions: number of resolutions.
      depth: blocks of a resolution.
      width: channels.
      size: of the convolutions that halve the resolution.
      reach: theirs, see `CausalConv`.
      is_fed: whether every block also sees a block of another stream.
      is_u_net: whether there is a way up.
      rngs: ``nnx.Rngs`` for the initial weights.

    Attributes:
      first: the blocks on the way down, stacked, by resolution.
      second: those on the way up.
      resize: between a resolution and the next.
    """

    def __init__(
        self,
        make_block: MakeBlock,
        *,
        resolutions: int,
        depth: int,
        width: int,
        size: tuple[int, int],
        reach: ReceptiveField,
        is_fed: bool,
        is_u_net: bool,
        rngs: nnx.Rngs,
    ):
        self.width, self.depth, self.is_fed = width, depth, is_fed
        self.resolutions = resolutions
        fed, last = width if is_fed else 0, resolutions - 1
        self.first = nnx.List([_stacked(make_block, depth, fed) for _ in range(resolutions)])
        sizes = [depth + (scale < last) for scale in range(resolutions)] if is_u_net else []
        self.second = nnx.List([_stacked(make_block, num, fed + width) for num in sizes])
        self.resize = nnx.List([Resize(size, width, reach=reach, rngs=rngs) for _ in range(last)])

    def __call__(
        self,
        x: jax.Array,
        above: Any = None,
        context: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
        mode: Any = None,
        cache: Any = None,
    ) -> tuple[jax.Array, Any, Any]:
        """The output ``[batch, h, w, width]``, the features for a stream that this one feeds, and the new cache.

        Args:
          x: ``[batch, h, w, width]``.
          above: features of the stream that feeds this one.
          context: ``[batch, k]``.
          key: switches dropout on; one, or one an example.
          mode: of evaluation; `WholeImage` by default.
          cache: of that mode.
        """
        return self._from_scale(0, x, above, context, key, mode or WholeImage(), cache)

    def _from_scale(
        self, scale: int, x: jax.Array, above: Any, context: Any, key: Any, mode: Any, cache: Any
    ) -> tuple[jax.Array, Any, Any]:
        """The stream from ``1 / 2^scale`` of the resolution on, down and up again."""

        def blocks(
            x: jax.Array, skips: jax.Array | None, *, is_up: bool
        ) -> tuple[jax.Array, jax.Array, Any]:
            salt = 2 * scale + is_up
            stacks, name = (self.second, "up") if is_up else (self.first, "down")
            x, outputs, returned = _run_blocks(
                stacks[scale],
                x,
                _joined(None if above is None else above[name], skips),
                context,
                prng.fold_in(key, salt),
                mode,
                None if cache is None else cache[name],
            )
            mode.replace(stacks, scale, returned)
            return x, outputs, returned

        start = x
        x, outputs, returned = blocks(x, None, is_up=False)
        features, new = {"down": outputs}, {"down": returned}
        if not self.second:
            return x, features if mode.keeps_features else None, new
        skips = jnp.concatenate([start[None], outputs])[::-1]
        if scale == self.resolutions - 1:
            skips = skips[1:]
        else:
            resize, inner = self.resize[scale], None if cache is None else cache["inner"]
            entering = x

            def descend() -> Any:
                convs = mode.convs(None if inner is None else [inner["downsampling"]])
                y, *rest = self._from_scale(
                    scale + 1,
                    convs(resize.shrink, entering),
                    None if above is None else above["lower"],
                    context,
                    key,
                    mode,
                    None if inner is None else inner["lower"],
                )
                return convs(resize.grow, y), *rest

            upsampled, lower, lower_cache = mode.at_scale(scale + 1, descend, inner)
            x = mode.crop(scale, upsampled)
            features["lower"] = lower
            new["inner"] = {
                "downsampling": mode.of_input(entering),
                "lower": lower_cache,
                "upsampled": upsampled,
                "features": lower,
            }
        x, outputs, returned = blocks(x, skips, is_up=True)
        features["up"], new["up"] = outputs, returned
        return x, features if mode.keeps_features else None, new


def _run_blocks(
    blocks: CausalBlock, x: jax.Array, extra: Any, context: Any, key: Any, mode: Any, cache: Any
) -> tuple[jax.Array, jax.Array, Any]:
    """The stacked blocks one after the other: the last output, all outputs, and what the mode returns of each."""

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
        block, extra, index, cache = inputs
        convs = mode.convs(cache)
        own_key = prng.fold_in(key, index)
        x = block(x, extra, context, key=own_key, run=convs)
        return x, (x, mode.of_block(convs, block))

    num = jax.tree.leaves(blocks)[0].shape[0]
    x = varying(x, blocks, extra, context, key, cache)
    x, (outputs, results) = jax.lax.scan(body, x, (blocks, extra, jnp.arange(num), cache))
    return x, outputs, results


def _joined(above: jax.Array | None, extra: jax.Array | None) -> jax.Array | None:
    given = [part for part in (above, extra) if part is not None]
    return jnp.concatenate(given, axis=-1) if given else None


def _stacked(make_block: MakeBlock, num: int, extra: int) -> CausalBlock:
    """``num`` blocks as one module whose arrays have the axis of the blocks first."""
    blocks = [make_block(extra=extra) for _ in range(num)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
