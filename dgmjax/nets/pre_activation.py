"""The residual functions of pre-activation networks, with batch normalization."""

import functools
from collections.abc import Callable
from typing import Any, Literal, Self

import jax
from flax import nnx

from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.conv import Conv
from dgmjax.nets.mlp import dropout as drop
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled

ResidualKind = Literal["basic", "bottleneck", "wide_bottleneck"]

_SIZES: dict[str, tuple[int, ...]] = {
    "basic": (3, 3),
    "bottleneck": (1, 3, 1),
    "wide_bottleneck": (3, 3, 3),
}
RESIDUAL_KINDS = tuple(_SIZES)

# The batch normalization that follows would remove a bias.
conv_without_bias = functools.partial(
    Conv,
    init=nnx.initializers.variance_scaling(2.0, "fan_out", "truncated_normal"),
    bias=False,
)


class PreActivationNet(Module):
    """``F(x) = conv_n(relu(norm_n(... conv_1(relu(norm_1(x))))))``, the residual function of a pre-activation network.

    =====================  ===============  ==============================================
    ``kind``               convolutions     channels
    =====================  ===============  ==============================================
    ``"basic"``            3x3, 3x3         ``out``, ``out``
    ``"bottleneck"``       1x1, 3x3, 1x1    ``out / 4``, ``out / 4``, ``out``
    ``"wide_bottleneck"``  3x3, 3x3, 3x3    the same
    =====================  ===============  ==============================================

    without biases; the first one has the stride. ``norm`` is `dgmjax.nets.NetBatchNorm`: ``F(x)`` uses running
    statistics, ``F.apply_and_update(x)`` those of the batch.

    Args:
      in_channels: of the input.
      out_channels: of the output; 4 divides those of a bottleneck.
      kind: see above.
      stride: of the first convolution; the sides of the image become ``ceil(side / stride)``.
      activate_first: False leaves out ``norm_1`` and the ``relu`` after it, in the first block of a network.
      dropout: probability of dropping an input of the last normalization when a key is given.
      momentum: of the running statistics.
      epsilon: of the normalizations.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: an unknown kind or a number out of range.

    Source: He et al., 2016, *Identity mappings in deep residual networks*, arXiv:1603.05027, figure 4(e); Gomez et
      al., 2017, *The reversible residual network*, arXiv:1707.04585, section 3; Jacobsen et al., 2018, *i-RevNet*,
      arXiv:1802.07088, section 3.1, and the authors' code, whose bottlenecks are ``"wide_bottleneck"``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kind: ResidualKind = "basic",
        stride: int = 1,
        activate_first: bool = True,
        dropout: float = 0.0,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ):
        if kind not in _SIZES:
            raise ValueError(
                f"PreActivationNet: kind: expected one of {list(RESIDUAL_KINDS)}, got {kind!r}."
            )
        sizes = _SIZES[kind]
        narrow = out_channels if kind == "basic" else out_channels // 4
        if in_channels < 1 or narrow < 1 or stride < 1 or not 0.0 <= dropout < 1.0:
            raise ValueError(
                f"PreActivationNet: expected channels and stride of at least 1 (4 output channels for a bottleneck) "
                f"and dropout in [0, 1), got {in_channels}, {out_channels}, {stride} and {dropout}."
            )
        channels = [in_channels, *(len(sizes) - 1) * [narrow], out_channels]
        self.dropout = float(dropout)
        self.out_channels = out_channels
        self.activate_first = activate_first
        self.norms = nnx.List(
            [
                NetBatchNorm(size, momentum=momentum, epsilon=epsilon)
                for size in channels[0 if activate_first else 1 : -1]
            ]
        )
        self.convs = nnx.List(
            [
                conv_without_bias(
                    size, before, after, stride=stride if index == 0 else 1, rngs=rngs
                )
                for index, (size, before, after) in enumerate(
                    zip(sizes, channels[:-1], channels[1:], strict=True)
                )
            ]
        )

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``[*batch, h, w, c] -> [*batch, h', w', out_channels]`` with running statistics; ``key`` as for training."""
        return self._run(x, key, lambda norm, x: norm(x))

    @compiled
    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same with the statistics of the batch, and the new module; ``key``, or one an example, drops units."""
        norms: list[NetBatchNorm] = []

        def normalize(norm: NetBatchNorm, x: jax.Array) -> jax.Array:
            x, updated = norm.apply_and_update(x)
            norms.append(updated)
            return x

        y = self._run(x, key, normalize)
        new = nnx.clone(self)
        new.norms = nnx.List(norms)
        return y, new

    def _run(
        self, x: jax.Array, key: jax.Array | None, normalize: Callable[[Any, jax.Array], jax.Array]
    ) -> jax.Array:
        norms = list(self.norms) if self.activate_first else [None, *self.norms]
        for index, (norm, conv) in enumerate(zip(norms, self.convs, strict=True)):
            if index == len(norms) - 1 and key is not None and self.dropout:
                x = drop(x, self.dropout, key)
            if norm is not None:
                x = jax.nn.relu(normalize(norm, x))
            x = conv(x)
        return x
