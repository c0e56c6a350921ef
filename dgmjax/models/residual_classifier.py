"""What the RevNet and its twin share: stem, stages and head."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import jax
from flax import nnx

from dgmjax.models.classifier import Classifier, check_classifier
from dgmjax.nets.residual_units import Stem
from dgmjax.numerics.compiled import compiled

Published = dict[int, tuple[tuple[int, ...], tuple[int, ...], bool]]


class ResidualClassifier(Classifier):
    """Stem, stages of units, head. A stage is a unit that may change the shape of images, and the others, stacked."""

    # Depth: filters of the stem and the stages, units a stage, bottlenecks.
    published: ClassVar[Published] = {}

    def _build(
        self,
        event_shape: Sequence[int],
        num_classes: int,
        *,
        filters: Sequence[int],
        units: Sequence[int],
        bottleneck: bool,
        stem_stride: int,
        num_levels: int | None,
        rngs: nnx.Rngs,
        normalization: dict[str, float],
    ) -> None:
        name = type(self).__name__
        self.event_shape = tuple(event_shape)
        self.num_levels = num_levels
        check_classifier(name, self.event_shape, units, num_levels)
        height, width, channels = self.event_shape
        shrink = stem_stride * 2 ** (len(units) - 1)
        if len(filters) != len(units) + 1 or height % shrink or width % shrink:
            raise ValueError(
                f"{name}: expected filters of the stem and of every stage and sides divisible by {shrink}, the stride "
                f"of the stem and a halving for every stage after the first; got filters {tuple(filters)} for "
                f"{len(units)} stages of {height}x{width} "
                f"images. Give fewer stages, or pad the images with dgmjax.data.pad_to."
            )
        widths = [filters[0], *(4 * size if bottleneck else size for size in filters[1:])]
        self.stem = Stem(channels, widths[0], stride=stem_stride, rngs=rngs, **normalization)
        height, width = height // stem_stride, width // stem_stride
        options: dict[str, Any] = {
            "kind": "bottleneck" if bottleneck else "basic",
            **normalization,
        }
        firsts, rests = [], []
        for stage, num in enumerate(units):
            before, after, stride = widths[stage], widths[stage + 1], 2 if stage else 1
            height, width = height // stride, width // stride
            firsts.append(
                self._first(
                    before,
                    after,
                    stride=stride,
                    activate_first=stage > 0,
                    shortcut="project" if bottleneck else "pool",
                    rngs=rngs,
                    **options,
                )
            )
            rest = self._rest(num - 1, (height, width, after), rngs, options) if num > 1 else None
            rests.append(nnx.data(rest))
        self.firsts = nnx.List(firsts)
        self.rests = nnx.List(rests)
        self.set_head(widths[-1], num_classes, rngs=rngs, **normalization)

    @classmethod
    def of_depth(
        cls,
        depth: int,
        event_shape: Sequence[int] = (32, 32, 3),
        num_classes: int = 10,
        *,
        num_levels: int | None = 256,
        rngs: nnx.Rngs,
    ) -> Self:
        """A network of the paper for CIFAR, by its number of layers.

        Raises:
          ValueError: another depth.
        """
        if depth not in cls.published:
            raise ValueError(
                f"{cls.__name__}.of_depth: expected one of {sorted(cls.published)}, got {depth}; give filters and "
                f"units to the constructor for another."
            )
        filters, units, bottleneck = cls.published[depth]
        options: dict[str, Any] = {"momentum": 0.99, "epsilon": 1e-3}  # those of the authors' code
        made: Any = cls
        return made(
            event_shape,
            num_classes,
            filters=filters,
            units=units,
            bottleneck=bottleneck,
            num_levels=num_levels,
            rngs=rngs,
            **options,
        )

    def _first(self, before: int, after: int, **options: Any) -> nnx.Module:
        raise NotImplementedError

    def _rest(
        self, num: int, shape: tuple[int, int, int], rngs: nnx.Rngs, options: dict[str, Any]
    ) -> nnx.Module:
        raise NotImplementedError

    def _run(self, rest: Any, x: jax.Array) -> jax.Array:
        return rest(x)

    def _run_and_update(self, rest: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        return rest.apply_and_update(x)

    @compiled
    def body(self, x: jax.Array) -> jax.Array:
        """Scaled images to those of the last stage."""
        x = self.stem(x)
        for first, rest in zip(self.firsts, self.rests, strict=True):
            x = first(x)
            x = x if rest is None else self._run(rest, x)
        return x

    @compiled
    def body_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """`body` in training, and the new module; ``key`` is not used, there is no dropout."""
        del key
        new = nnx.clone(self)
        x, new.stem = self.stem.apply_and_update(x)
        firsts, rests = [], []
        first: Any
        for first, rest in zip(self.firsts, self.rests, strict=True):
            x, first = first.apply_and_update(x)
            if rest is not None:
                x, rest = self._run_and_update(rest, x)
            firsts.append(first)
            rests.append(nnx.data(rest))
        new.firsts, new.rests = nnx.List(firsts), nnx.List(rests)
        return x, new
