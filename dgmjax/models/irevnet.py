"""The i-RevNet: a classifier whose final features are the image."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.reversible import IRevBlock
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.layers.stack import Stack
from dgmjax.models.classifier import Classifier, check_classifier
from dgmjax.nets.pre_activation import ResidualKind
from dgmjax.numerics.compiled import compiled


@recorded
class IRevNet(Classifier):
    """A classifier ``softmax(W pool(relu(norm(z))) + b)`` of ``z = f(x)`` with a bijection ``f`` of images.

    ``f`` is a `dgmjax.Chain` of `dgmjax.IRevBlock`: space to depth if wanted, then stages whose first block may have
    stride 2, with four times the channels, and whose others are one reversible `dgmjax.Stack`. Nothing of the image is
    lost before the mean over the pixels: `final_features` gives ``z``, and `invert` the image back. With ``pad_to``
    zero channels are put before those of the image: ``f`` is then injective, and `invert` leaves them out. The first
    function then sees the image. Behind it, where the authors' code has them, the zeros would be all it sees, and its
    normalizations would divide by their deviation, 0: rounding grows some hundred times in each, on the way back too.

    Args:
      event_shape: ``(h, w, c)``.
      num_classes: number of classes.
      blocks: blocks a stage.
      strides: 1 or 2, of the first block of every stage.
      pad_to: number of channels of the image with the zeros; None adds none.
      squeeze: side of the blocks of pixels that become channels in the beginning; 1 for none.
      kind: of the functions, see `dgmjax.nets.PreActivationNet`: ``"wide_bottleneck"`` as in the authors' code,
        ``"bottleneck"`` as in the paper's ImageNet networks.
      dropout: before the last normalization of a function, in training.
      reversible: False stores all activations; for comparison.
      num_levels: levels of integer images; None for floats.
      momentum: of the running statistics.
      epsilon: of the normalizations.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: shapes or numbers that do not fit.

    Source: Jacobsen et al., 2018, *i-RevNet: deep invertible networks*, arXiv:1802.07088, section 3, and the authors'
      code.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_classes: int = 10,
        *,
        blocks: Sequence[int] = (18, 18, 18),
        strides: Sequence[int] = (1, 2, 2),
        pad_to: int | None = None,
        squeeze: int = 1,
        kind: ResidualKind = "wide_bottleneck",
        dropout: float = 0.0,
        reversible: bool = True,
        num_levels: int | None = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        self.event_shape = tuple(event_shape)
        self.num_levels = num_levels
        check_classifier("IRevNet", self.event_shape, blocks, num_levels)
        height, width, channels = self.event_shape
        pad_to = channels if pad_to is None else pad_to
        if len(strides) != len(blocks) or set(strides) - {1, 2} or pad_to < channels:
            raise ValueError(
                f"IRevNet: expected a stride of 1 or 2 for every stage and pad_to of at least {channels}, the channels "
                f"of the image; got strides {tuple(strides)} for blocks {tuple(blocks)} and pad_to {pad_to}."
            )
        self.padding = pad_to - channels
        shape: tuple[int, ...] = (height, width, pad_to)
        layers: list[Bijector] = []
        if squeeze > 1:
            layers.append(Squeeze(shape, order="outer", factor=squeeze))
            shape = layers[-1].latent_shape

        def block(stride: int = 1, *, activate_first: bool = True) -> IRevBlock:
            return IRevBlock(
                shape,
                kind=kind,
                stride=stride,
                activate_first=activate_first,
                dropout=dropout,
                momentum=momentum,
                epsilon=epsilon,
                rngs=rngs,
            )

        for stage, (num, stride) in enumerate(zip(blocks, strides, strict=True)):
            layers.append(block(stride, activate_first=stage > 0))
            shape = layers[-1].latent_shape
            if num > 1:
                rest = [block() for _ in range(num - 1)]
                layers.append(Stack(rest, reversible=reversible))
        self.bijector = Chain(layers)
        self.set_head(shape[-1], num_classes, momentum=momentum, epsilon=epsilon, rngs=rngs)

    @classmethod
    def cifar(
        cls,
        event_shape: Sequence[int] = (32, 32, 3),
        num_classes: int = 10,
        *,
        num_levels: int | None = 256,
        rngs: nnx.Rngs,
    ) -> Self:
        """The authors' network for CIFAR: 3 stages of 18 blocks, 3 channels padded to 32, dropout 0.1; injective."""
        return cls(
            event_shape,
            num_classes,
            pad_to=32,
            dropout=0.1,
            num_levels=num_levels,
            rngs=rngs,
        )

    @classmethod
    def imagenet_bijective(cls, *, num_levels: int | None = 256, rngs: nnx.Rngs) -> Self:
        """The paper's i-RevNet (b) of 224x224 images: 100 blocks of 301 layers, 29 million parameters.

        Blocks, strides and channels are those of the authors' command; the convolutions of a block are 1x1, 3x3, 1x1 as
        in the paper. With the 3x3 convolutions of the authors' later code it has four times as many parameters.
        """
        return cls(
            (224, 224, 3),
            1000,
            blocks=(6, 16, 72, 6),
            strides=(2, 2, 2, 2),
            squeeze=2,
            kind="bottleneck",
            num_levels=num_levels,
            rngs=rngs,
        )

    @classmethod
    def imagenet_injective(cls, *, num_levels: int | None = 256, rngs: nnx.Rngs) -> Self:
        """The paper's i-RevNet (a) of 224x224 images: 181 million parameters.

        There is no public code of it. This is the network of 18 blocks, 4, 4, 6, 4 (RevNet-56's functions), that has
        the published number of parameters when the image is padded to four times its channels.
        """
        return cls(
            (224, 224, 3),
            1000,
            blocks=(4, 4, 6, 4),
            strides=(2, 2, 2, 2),
            pad_to=12,
            squeeze=2,
            kind="bottleneck",
            num_levels=num_levels,
            rngs=rngs,
        )

    @compiled
    def final_features(self, x: jax.Array) -> jax.Array:
        """``z = f(x)``: ``[*batch, h, w, c] -> [*batch, h', w', c']``, as many numbers, but for the padding."""
        return self.body(self.scaled(x))

    @compiled
    def invert(self, final_features: jax.Array) -> jax.Array:
        """``x = f^-1(z)``, the scaled image (levels in [0, 1]): ``[*batch, h', w', c'] -> [*batch, h, w, c]``."""
        return self.bijector.forward(final_features)[..., self.padding :]

    @compiled
    def body(self, x: jax.Array) -> jax.Array:
        """``f`` of scaled images."""
        return self.bijector.inverse(self._padded(x))

    @compiled
    def body_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """``f`` in training, and the new module; ``key`` switches dropout on."""
        z, _, bijector = self.bijector.inverse_and_update(self._padded(x), key=key)
        new = nnx.clone(self)
        new.bijector = bijector
        return z, new

    def _padded(self, x: jax.Array) -> jax.Array:
        pads = [(0, 0)] * (x.ndim - 1) + [(self.padding, 0)]
        return jnp.pad(x, pads) if self.padding else x
