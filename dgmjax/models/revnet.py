"""Classifiers of residual networks: the RevNet and its twin that stores its activations."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
from flax import nnx

from dgmjax.layers.reversible import RevBlock
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.stack import Stack
from dgmjax.models.residual_classifier import Published, ResidualClassifier
from dgmjax.nets.residual_units import ResidualUnit, ResidualUnits, RevTransition


@recorded
class RevNet(ResidualClassifier):
    """A reversible residual network that classifies images, in the activation memory of one block a stage.

    A 3x3 convolution, normalization and ``relu``; stages whose first unit, `RevTransition`, may change the shape of
    images (stride 2 and more channels from the second stage on) and is stored, and whose others are one
    ``Stack([RevBlock, ...], reversible=True)``; normalization, ``relu``, the mean over the pixels, a linear layer.
    Gradients rebuild the activations of a stack from its output. Running statistics are updated once a step: the
    backward pass, which runs the blocks again, makes none.

    Args:
      event_shape: ``(h, w, c)``, sides divisible by the stride of the stem and by 2 for every stage but the first.
      num_classes: number of classes.
      filters: channels of the stem and of the stages, even.
      units: units a stage, at least 1; each is two functions, of two convolutions, or three with ``bottleneck``.
      bottleneck: 1x1, 3x3, 1x1 convolutions; the stages have four times ``filters``.
      stem_stride: stride of the first convolution; 2 makes the work a quarter, as in the paper's networks for ImageNet.
      reversible: False stores all activations; for comparison.
      num_levels: levels of integer images; None for floats.
      momentum: of the running statistics.
      epsilon: of the normalizations.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: shapes or numbers that do not fit.

    Source: Gomez et al., 2017, *The reversible residual network: backpropagation without storing activations*,
      arXiv:1707.04585, section 3 and table 1; what the paper leaves open is that of the authors' code.
    """

    published: ClassVar[Published] = {
        38: ((32, 32, 64, 112), (3, 3, 3), False),
        110: ((32, 32, 64, 128), (9, 9, 9), False),
        164: ((32, 32, 64, 128), (9, 9, 9), True),
    }

    def __init__(
        self,
        event_shape: Sequence[int],
        num_classes: int = 10,
        *,
        filters: Sequence[int] = (32, 32, 64, 112),
        units: Sequence[int] = (3, 3, 3),
        bottleneck: bool = False,
        stem_stride: int = 1,
        reversible: bool = True,
        num_levels: int | None = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        if any(size % 2 for size in filters):
            raise ValueError(
                f"RevNet: filters are cut in halves; expected even numbers, got {tuple(filters)}."
            )
        self.reversible = reversible
        self._build(
            event_shape,
            num_classes,
            filters=filters,
            units=units,
            bottleneck=bottleneck,
            stem_stride=stem_stride,
            num_levels=num_levels,
            rngs=rngs,
            normalization={"momentum": momentum, "epsilon": epsilon},
        )

    def _first(self, before: int, after: int, **options: Any) -> nnx.Module:
        return RevTransition(before, after, **options)

    def _rest(
        self, num: int, shape: tuple[int, int, int], rngs: nnx.Rngs, options: dict[str, Any]
    ) -> nnx.Module:
        blocks = [RevBlock(shape, rngs=rngs, **options) for _ in range(num)]
        return Stack(blocks, reversible=self.reversible)

    def _run(self, rest: Stack, x: jax.Array) -> jax.Array:
        return rest.inverse(x)

    def _run_and_update(self, rest: Stack, x: jax.Array) -> tuple[jax.Array, Stack]:
        x, _, rest = rest.inverse_and_update(x)
        return x, rest


@recorded
class PreActResNet(ResidualClassifier):
    """The ResNet that a `RevNet` is compared with: units ``x + F(x)``, all activations stored.

    Arguments as of `RevNet`; ``filters`` need not be even, and a unit is one function. (`dgmjax.nets.ResNet` is the
    conditioner of RealNVP.)

    Source: He et al., 2016, *Identity mappings in deep residual networks*, arXiv:1603.05027, with the shortcuts of the
      code of Gomez et al., 2017, arXiv:1707.04585, table 1 of whose paper compares them.
    """

    published: ClassVar[Published] = {
        32: ((16, 16, 32, 64), (5, 5, 5), False),
        110: ((16, 16, 32, 64), (18, 18, 18), False),
        164: ((16, 16, 32, 64), (18, 18, 18), True),
    }

    def __init__(
        self,
        event_shape: Sequence[int],
        num_classes: int = 10,
        *,
        filters: Sequence[int] = (16, 16, 32, 64),
        units: Sequence[int] = (5, 5, 5),
        bottleneck: bool = False,
        stem_stride: int = 1,
        num_levels: int | None = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        self._build(
            event_shape,
            num_classes,
            filters=filters,
            units=units,
            bottleneck=bottleneck,
            stem_stride=stem_stride,
            num_levels=num_levels,
            rngs=rngs,
            normalization={"momentum": momentum, "epsilon": epsilon},
        )

    def _first(self, before: int, after: int, **options: Any) -> nnx.Module:
        return ResidualUnit(before, after, **options)

    def _rest(
        self, num: int, shape: tuple[int, int, int], rngs: nnx.Rngs, options: dict[str, Any]
    ) -> nnx.Module:
        return ResidualUnits(num, shape[-1], rngs=rngs, **options)
