"""Convolutional generator and discriminator of images."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.squeeze import squeeze, unsqueeze
from dgmjax.checks import batch_shape
from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.conv import Conv
from dgmjax.nets.gan.mlp import Generator, check_widths, leaky, updating
from dgmjax.nets.mlp import dropout as drop
from dgmjax.nets.spectral_norm import SpectralConv, SpectralLinear
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

_HIDDEN_INIT = nnx.initializers.he_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


class ConvGenerator(Generator):
    """``[*batch, in_size] -> [*batch, h, w, c]``: a dense layer, then convolutions that double the sides.

    Batch norm and ReLU after the dense layer and every convolution but the last, which ends with ``tanh``, as in DCGAN.
    A transposed convolution of stride 2 is here a 3x3 convolution to four times the channels, which become blocks of
    2x2 pixels: a 6x6 kernel at the finer resolution, where DCGAN has 5x5. A last 3x3 convolution keeps the size.

    Args:
      in_size: length of the latent vector.
      out_shape: ``(h, w, c)``, sides divisible by ``2 ** (len(widths) - 1)``.
      widths: channels at every resolution, from the coarsest to the finest.
      batch_norm: False for none.
      bounded: end with ``tanh``, for data in [-1, 1]; False for a linear end.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, sides that cannot be halved so often, or no widths.

    Source: Radford et al., 2016, *Unsupervised representation learning with deep convolutional generative
    adversarial networks*, arXiv:1511.06434, section 3; channels that become pixels: Shi et al., 2016, arXiv:1609.05158.
    """

    def __init__(
        self,
        in_size: int,
        out_shape: Sequence[int],
        *,
        widths: Sequence[int] = (128, 64),
        batch_norm: bool = True,
        bounded: bool = True,
        rngs: nnx.Rngs,
    ):
        grid = _coarsest("ConvGenerator", out_shape, widths)
        self.in_size = in_size
        self.out_shape = tuple(out_shape)
        self.bounded = bounded
        self.grid = (*grid, widths[0])
        units = math.prod(self.grid)
        self.dense = nnx.Linear(in_size, units, kernel_init=_HIDDEN_INIT, rngs=rngs)
        self.convs = nnx.List(
            [_conv(a, 4 * b, _HIDDEN_INIT, rngs) for a, b in itertools.pairwise(widths)]
        )
        self.norms = nnx.List([NetBatchNorm(width) for width in widths] if batch_norm else [])
        self.last = _conv(widths[-1], self.out_shape[-1], _LAST_INIT, rngs)

    def _apply(self, z: jax.Array, norms: list[Any]) -> jax.Array:
        batch = batch_shape(z, (self.in_size,), where="ConvGenerator")
        x = self.dense(z).reshape(*batch, *self.grid)
        x = jax.nn.relu(norms[0](x) if norms else x)
        for index, conv in enumerate(self.convs):
            x = unsqueeze(conv(x), order="outer")
            x = jax.nn.relu(norms[index + 1](x) if norms else x)
        x = self.last(x)
        return jnp.tanh(x) if self.bounded else x


class ConvDiscriminator(Module):
    """``[*batch, h, w, c] -> [*batch]``, the logit that an image is data: the mirror image of `ConvGenerator`.

    Leaky ReLU and dropout after every convolution. A convolution of stride 2 is here a 3x3 convolution of blocks of 2x2
    pixels, a 6x6 kernel. There is no batch norm, which would tie the logits of a batch together: no gradient penalty
    could be taken of them, and data and samples would have to be kept apart.

    Args:
      in_shape: ``(h, w, c)``, sides divisible by ``2 ** (len(widths) - 1)``.
      widths: channels at every resolution, from the finest to the coarsest.
      dropout: probability of dropping a hidden unit when a key is given.
      spectral_norm: divide every kernel by the norm of its map, see `dgmjax.nets.SpectralConv`; training then calls
        `apply_and_update` once a step.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, sides that cannot be halved so often, no widths, or ``dropout`` out of range.

    Source: Radford et al., 2016, arXiv:1511.06434, section 3; spectral norm: Miyato et al., 2018, arXiv:1802.05957.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128),
        dropout: float = 0.0,
        spectral_norm: bool = False,
        rngs: nnx.Rngs,
    ):
        _coarsest("ConvDiscriminator", in_shape, widths, dropout)
        self.in_shape = tuple(in_shape)
        self.dropout = dropout
        height, width, channels = self.in_shape
        convs: list[nnx.Module] = []
        for level, out in enumerate(widths):
            if level:
                height, width, channels = height // 2, width // 2, 4 * channels
            convs.append(
                SpectralConv((height, width, channels), out, rngs=rngs)
                if spectral_norm
                else _conv(channels, out, _HIDDEN_INIT, rngs)
            )
            channels = out
        self.convs = nnx.List(convs)
        make: Any = SpectralLinear if spectral_norm else nnx.Linear
        self.last = make(height * width * channels, 1, rngs=rngs)

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Logits of images, floats in [-1, 1]; ``key``, one or one an image, switches dropout on."""
        return self._apply(x, [*self.convs, self.last], key)

    @compiled
    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same logits, and the module with its power iterations one step further."""
        layers: list[Any] = []
        all_layers = [*self.convs, self.last]
        out = self._apply(x, [updating(layer, layers) for layer in all_layers], key)
        new = nnx.clone(self)
        new.convs, new.last = nnx.List(layers[:-1]), layers[-1]
        return out, new

    def _apply(self, x: jax.Array, layers: list[Any], key: jax.Array | None) -> jax.Array:
        batch = batch_shape(x, self.in_shape, where="ConvDiscriminator")
        for index, layer in enumerate(layers[:-1]):
            x = leaky(layer(squeeze(x, order="outer") if index else x))
            if key is not None and self.dropout > 0.0:
                x = drop(x, self.dropout, prng.fold_in(key, index))
        return layers[-1](x.reshape(*batch, math.prod(x.shape[-3:])))[..., 0]


def _conv(channels: int, out: int, init: Any, rngs: nnx.Rngs) -> Conv:
    return Conv(3, channels, out, init=init, rngs=rngs)


def _coarsest(
    where: str, shape: Sequence[int], widths: Sequence[int], dropout: float = 0.0
) -> tuple[int, int]:
    """Sides of the coarsest resolution."""
    check_widths(where, widths, dropout)
    shrunk = 2 ** (len(widths) - 1)
    if len(shape) != 3 or shape[0] % shrunk or shape[1] % shrunk:
        raise ValueError(
            f"{where}: {len(widths)} widths need images (h, w, c) with sides divisible by {shrunk}, got "
            f"{tuple(shape)}; pad the images, or use fewer widths."
        )
    return shape[0] // shrunk, shape[1] // shrunk
