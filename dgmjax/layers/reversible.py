"""Reversible residual blocks as bijectors: i-RevNet's, and RevNet's, which is two of them."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.additive_halves import halves_forward, halves_inverse
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.pre_activation import PreActivationNet, ResidualKind


@recorded
class IRevBlock(Bijector):
    """``(x1, x2) -> (x2, x1 + F(x2))``, data to latent, for the halves ``x1``, ``x2`` of the channels of an image.

    With ``stride=2`` it is ``(s(x2), s(x1) + F(x2))``, where ``s`` makes blocks of 2x2 pixels the channels of one and
    ``F`` has the stride. Nothing is lost; the log-determinant is 0. ``F`` is a `dgmjax.nets.PreActivationNet`, whose
    batch normalization uses running statistics in `forward_and_log_det` and `inverse_and_log_det`, those of the batch
    in `inverse_and_update`, which returns new ones, and in `forward_in_training`, which finds them again: ``F`` is
    undone with the very ``x2`` it was computed from. ``key`` switches the dropout of ``F`` on.

    The direction of a network that classifies is data to latent.

    Args:
      event_shape: ``(h, w, c)`` with an even ``c``.
      kind: of ``F``.
      stride: 1 or more; divides ``h`` and ``w``. Latents have the shape ``(h / stride, w / stride, stride^2 c)``.
      activate_first: whether ``F`` starts with a normalization and ``relu``; False in the first block of a network.
      dropout: of ``F``.
      momentum: of its running statistics.
      epsilon: of its normalizations.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, an odd number of channels, sides that the stride does not divide, or settings that the
        network refuses.

    Source: Jacobsen et al., 2018, *i-RevNet: deep invertible networks*, arXiv:1802.07088, section 3.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        kind: ResidualKind = "wide_bottleneck",
        stride: int = 1,
        activate_first: bool = True,
        dropout: float = 0.0,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        self.event_shape = tuple(event_shape)
        self.stride = int(stride)
        if len(self.event_shape) != 3 or self.event_shape[-1] % 2 or self.stride < 1:
            raise ValueError(
                f"IRevBlock: expected image events (h, w, c) with an even c and a stride of at least 1, got "
                f"event_shape {self.event_shape} and stride {stride}; pad the channels (IRevNet's pad_to)."
            )
        height, width, channels = self.event_shape
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"IRevBlock: stride {self.stride} does not divide the sides of {height}x{width} images; pad them "
                f"with dgmjax.data.pad_to."
            )
        half = channels // 2
        self.branch = PreActivationNet(
            half,
            self.stride**2 * half,
            kind=kind,
            stride=self.stride,
            activate_first=activate_first,
            dropout=dropout,
            momentum=momentum,
            epsilon=epsilon,
            rngs=rngs,
        )

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(h / stride, w / stride, stride^2 c)``."""
        height, width, channels = self.event_shape
        return (height // self.stride, width // self.stride, self.stride**2 * channels)

    def forward_and_log_det(
        self, z: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x = halves_forward(z, lambda x2: self.branch(x2, key=key), stride=self.stride)
        return x, _zero(z)

    def inverse_and_log_det(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, the forward pass of the network."""
        z = halves_inverse(x, lambda x2: self.branch(x2, key=key), stride=self.stride)
        return z, _zero(x)

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """The forward pass in training."""
        del context
        branches: list[PreActivationNet] = []

        def branch(x2: jax.Array) -> jax.Array:
            moved, updated = self.branch.apply_and_update(x2, key=key)
            branches.append(updated)
            return moved

        z = halves_inverse(x, branch, stride=self.stride)
        new = nnx.clone(self)
        new.branch = branches[0]
        return z, _zero(x), new

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`, with the statistics of the same batch."""
        del context

        def branch(x2: jax.Array) -> jax.Array:
            return self.branch.apply_and_update(x2, key=key)[0]

        return halves_forward(z, branch, stride=self.stride)


@recorded
class RevBlock(Chain):
    """``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)``, data to latent: RevNet's block, a chain of two `IRevBlock`.

    The first gives ``(x2, y1)``, the second ``(y1, y2)``. Back, latent to data: ``x2 = y2 - G(y1)``,
    ``x1 = y1 - F(x2)``. The log-determinant is 0. ``Stack([RevBlock(...), ...], reversible=True)`` is a stage of a
    RevNet.

    Args:
      event_shape: ``(h, w, c)`` with an even ``c``, which stays.
      kind: of ``F`` and ``G``, `dgmjax.nets.PreActivationNet`.
      dropout: of both.
      momentum: of their running statistics.
      epsilon: of their normalizations.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image or an odd number of channels, or settings that the networks refuse.

    Source: Gomez et al., 2017, *The reversible residual network*, arXiv:1707.04585, equations 6 and 7.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        kind: ResidualKind = "basic",
        dropout: float = 0.0,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            [
                IRevBlock(
                    event_shape,
                    kind=kind,
                    dropout=dropout,
                    momentum=momentum,
                    epsilon=epsilon,
                    rngs=rngs,
                )
                for _ in range(2)
            ]
        )


def _zero(x: jax.Array) -> jax.Array:
    return jnp.zeros(x.shape[:-3], x.dtype)
