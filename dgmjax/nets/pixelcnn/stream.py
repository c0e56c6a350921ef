"""A stream of a pixel network: levels of blocks at falling resolutions and, with skips, back up."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.pixelcnn.blocks import CausalBlock
from dgmjax.nets.pixelcnn.conv import CausalConv, CausalGrow, ReceptiveField
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.sharding import varying

# make_block(extra=channels of a second input) -> one block
MakeBlock = Callable[..., CausalBlock]


class Resize(Module):
    """The way from one resolution to half of it, and back."""

    def __init__(self, size: tuple[int, int], width: int, *, reach: ReceptiveField, rngs: nnx.Rngs):
        self.shrink = CausalConv(size, width, width, reach=reach, stride=2, rngs=rngs)
        self.grow = CausalGrow(width, width, reach=reach, rngs=rngs)


class Whole:
    """How a stream runs on whole images; `dgmjax.nets.pixelcnn.cache` has the ways that run on a row or on a pixel."""

    keeps_features = True

    def layers(self, cache: Any) -> "WholeLayers":
        """What runs the convolutions of one block."""
        del cache
        return WholeLayers()

    def result(self, layers: Any, block: CausalBlock) -> Any:
        """What to return of a block besides its output."""
        del layers, block

    def kept(self, cache: Any, name: str, x: jax.Array) -> Any:
        """What to remember of the input of a convolution, whether it runs or not."""
        del cache, name, x

    def visit(self, level: int, function: Callable[[], Any], cache: Any) -> Any:
        """Run a level, or what its cache remembers where it has nothing new."""
        del level, cache
        return function()

    def pick(self, level: int, grown: jax.Array) -> jax.Array:
        """The part of a grown image that belongs here."""
        del level
        return grown


class WholeLayers:
    """Calls a convolution as it is."""

    def __call__(self, module: nnx.Module, name: str, x: jax.Array) -> jax.Array:
        """``module.name(x)``."""
        return getattr(module, name)(x)


class Renewing(Whole):
    """On whole images, and every layer first starts from what it meets; changes the modules it runs."""

    def layers(self, cache: Any) -> "RenewingLayers":
        """What runs the convolutions of one block."""
        del cache
        return RenewingLayers()

    def result(self, layers: Any, block: CausalBlock) -> Any:
        """The block with its new layers."""
        return block


class RenewingLayers(WholeLayers):
    """Replaces a convolution by its data-dependent start before the call."""

    def __call__(self, module: nnx.Module, name: str, x: jax.Array) -> jax.Array:
        """``module.name(x)`` of the new layer."""
        setattr(module, name, getattr(module, name).with_data_init(x))
        return super().__call__(module, name, x)


class CausalStream(Module):
    """``levels`` of ``depth`` blocks, each at half the resolution of the one before, and with skips back up.

    Blocks of a level are one stacked module and one ``jax.lax.scan``, so compile time is that of one block whatever
    the depth. On the way up again a block has what the block at its height gave on the way down as extra input; there
    is one block more than on the way down, for what entered the level. Without an hourglass there is one level and no
    way back.

    Args:
      make_block: ``make_block(extra=channels)`` returns one block; all with equal settings.
      levels: number of resolutions.
      depth: blocks of a level.
      width: channels.
      size: of the convolutions that halve the resolution.
      reach: theirs, see `CausalConv`.
      is_fed: whether every block also sees a block of another stream.
      is_hourglass: whether there is a way back up.
      rngs: ``nnx.Rngs`` for the initial weights.
    """

    def __init__(
        self,
        make_block: MakeBlock,
        *,
        levels: int,
        depth: int,
        width: int,
        size: tuple[int, int],
        reach: ReceptiveField,
        is_fed: bool,
        is_hourglass: bool,
        rngs: nnx.Rngs,
    ):
        self.width, self.depth, self.is_fed = width, depth, is_fed
        self.num_levels = levels
        fed = width if is_fed else 0
        self.first = nnx.List([_stacked(make_block, depth, fed) for _ in range(levels)])
        sizes = [depth + (level < levels - 1) for level in range(levels)] if is_hourglass else []
        self.second = nnx.List([_stacked(make_block, num, fed + width) for num in sizes])
        self.resize = nnx.List(
            [Resize(size, width, reach=reach, rngs=rngs) for _ in range(levels - 1)]
        )

    def __call__(
        self,
        x: jax.Array,
        above: Any = None,
        context: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
        way: Any = None,
        cache: Any = None,
    ) -> tuple[jax.Array, Any, Any]:
        """The output ``[batch, h, w, width]``, the features for a stream that this one feeds, and the new cache.

        Args:
          x: ``[batch, h, w, width]``.
          above: features of the stream that feeds this one.
          context: ``[batch, k]``.
          key: switches dropout on; one, or one an example.
          way: how to run; on whole images by default.
          cache: what that way remembers.
        """
        return self._level(0, x, above, context, key, way or Whole(), cache)

    def _level(
        self, level: int, x: jax.Array, above: Any, context: Any, key: Any, way: Any, cache: Any
    ) -> tuple[jax.Array, Any, Any]:
        def blocks(
            stacks: nnx.List, x: jax.Array, name: str, extra: jax.Array | None
        ) -> tuple[jax.Array, jax.Array, Any]:
            salt = 2 * level + (name == "second")
            x, outputs, result = _run_blocks(
                stacks[level],
                x,
                _joined(None if above is None else above[name], extra),
                context,
                prng.fold_in(key, salt),
                way,
                None if cache is None else cache[name],
            )
            if isinstance(way, Renewing):
                stacks[level] = result
            return x, outputs, result

        start = x
        x, outputs, result = blocks(self.first, x, "first", None)
        features, results = {"first": outputs}, {"first": result}
        if not self.second:
            return x, features if way.keeps_features else None, results
        skips = jnp.concatenate([start[None], outputs])[::-1]
        if level == self.num_levels - 1:
            skips = skips[1:]
        else:
            resize, inner = self.resize[level], None if cache is None else cache["inner"]
            own = None if inner is None else inner["resize"]
            entering, kept = x, way.kept(own, "shrink", x)

            def descend() -> Any:
                layers = way.layers(own)
                y = layers(resize, "shrink", entering)
                y, *rest = self._level(
                    level + 1,
                    y,
                    None if above is None else above["level"],
                    context,
                    key,
                    way,
                    None if inner is None else inner["level"],
                )
                return layers(resize, "grow", y), *rest

            grown, deeper, deeper_results = way.visit(level + 1, descend, inner)
            x = way.pick(level, grown)
            features["level"] = deeper
            results["inner"] = {
                "resize": kept,
                "level": deeper_results,
                "grown": grown,
                "features": deeper,
            }
        x, outputs, result = blocks(self.second, x, "second", skips)
        features["second"], results["second"] = outputs, result
        return x, features if way.keeps_features else None, results


def _run_blocks(
    blocks: CausalBlock, x: jax.Array, extra: Any, context: Any, key: Any, way: Any, cache: Any
) -> tuple[jax.Array, jax.Array, Any]:
    """The stacked blocks one after the other: the last output, all outputs, and what the way returns of each."""

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
        block, extra, index, cache = inputs
        layers = way.layers(cache)
        own_key = prng.fold_in(key, index)
        x = block(x, extra, context, key=own_key, run=layers)
        return x, (x, way.result(layers, block))

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
