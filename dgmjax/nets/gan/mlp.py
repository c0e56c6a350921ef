"""Multi-layer perceptrons of adversarial training: latents to events, and events to a logit."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import batch_shape
from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.mlp import dropout as drop
from dgmjax.nets.spectral_norm import SpectralLinear
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

SLOPE = 0.2
_HIDDEN_INIT = nnx.initializers.he_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


def leaky(x: jax.Array) -> jax.Array:
    """``max(x, 0.2 x)``, elementwise."""
    return jax.nn.leaky_relu(x, SLOPE)


class Generator(Module):
    """What generators share: ``_apply(z, norms)`` with the normalizations of evaluation or of training."""

    norms: nnx.List

    def __call__(self, z: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Events of latents, with the running statistics; ``key`` is not used."""
        del key
        return self._apply(z, [lambda x, norm=norm: norm(x) for norm in self.norms])

    def apply_and_update(
        self, z: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """Events with the statistics of the batch, and the module with new running ones."""
        del key
        norms: list[NetBatchNorm] = []
        out = self._apply(z, [updating(norm, norms) for norm in self.norms])
        new = nnx.clone(self)
        new.norms = nnx.List(norms)
        return out, new

    def _apply(self, z: jax.Array, norms: list[Any]) -> jax.Array:
        raise NotImplementedError


class MLPGenerator(Generator):
    """``[*batch, in_size] -> [*batch, *out_shape]``: dense layers with leaky ReLU and batch norm, last ``tanh``.

    As in the code behind the lectures, whose report has no batch norm (errata E-A4-17)::

        leaky(W1 z), then for every further width  leaky(norm(W x)), for the last of them  norm(leaky(W x)),
        last tanh(W x)

    With batch norm, training calls `apply_and_update`: the statistics of the batch, and a new module.

    Args:
      in_size: length of the latent vector.
      out_shape: shape of an event.
      widths: hidden units, from the latents to the event.
      batch_norm: normalise the hidden layers but the first; False for none.
      bounded: end with ``tanh``, for data in [-1, 1]; False for a linear end.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no hidden layer, or one without units.
    """

    def __init__(
        self,
        in_size: int,
        out_shape: Sequence[int],
        *,
        widths: Sequence[int] = (128, 256, 512, 1024),
        batch_norm: bool = True,
        bounded: bool = True,
        rngs: nnx.Rngs,
    ):
        check_widths("MLPGenerator", widths)
        self.in_size = in_size
        self.out_shape = tuple(out_shape)
        self.bounded = bounded
        self.hidden = nnx.List(
            [
                nnx.Linear(a, b, kernel_init=_HIDDEN_INIT, rngs=rngs)
                for a, b in itertools.pairwise([in_size, *widths])
            ]
        )
        self.norms = nnx.List([NetBatchNorm(width) for width in widths[1:]] if batch_norm else [])
        size = math.prod(self.out_shape)
        self.last = nnx.Linear(widths[-1], size, kernel_init=_LAST_INIT, rngs=rngs)

    def _apply(self, z: jax.Array, norms: list[Any]) -> jax.Array:
        batch = batch_shape(z, (self.in_size,), where="MLPGenerator")
        x = leaky(self.hidden[0](z))
        for index, layer in enumerate(self.hidden[1:]):
            x = layer(x)
            if not norms:
                x = leaky(x)
            elif index + 2 < len(self.hidden):
                x = leaky(norms[index](x))
            else:
                x = norms[index](leaky(x))
        x = self.last(x).reshape(*batch, *self.out_shape)
        return jnp.tanh(x) if self.bounded else x


class MLPDiscriminator(Module):
    """``[*batch, *in_shape] -> [*batch]``, the logit that an event is data: dense layers with leaky ReLU and dropout.

    Args:
      in_shape: shape of an event.
      widths: hidden units, from the event to the logit.
      dropout: probability of dropping a hidden unit when a key is given; 0.3 in the lectures' report, none in its code.
      spectral_norm: divide every kernel by its norm, `dgmjax.nets.SpectralLinear`; training then calls
        `apply_and_update` once a step.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no hidden layer, one without units, or ``dropout`` out of range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        *,
        widths: Sequence[int] = (512, 256),
        dropout: float = 0.3,
        spectral_norm: bool = False,
        rngs: nnx.Rngs,
    ):
        check_widths("MLPDiscriminator", widths, dropout)
        self.in_shape = tuple(in_shape)
        self.dropout = dropout
        sizes = [math.prod(self.in_shape), *widths, 1]
        make: Any = SpectralLinear if spectral_norm else nnx.Linear
        self.layers = nnx.List([make(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)])

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Logits of events, floats in [-1, 1]; ``key``, one or one an event, switches dropout on."""
        return self._apply(x, list(self.layers), key)

    @compiled
    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same logits, and the module with its power iterations one step further."""
        layers: list[nnx.Module] = []
        out = self._apply(x, [updating(layer, layers) for layer in self.layers], key)
        new = nnx.clone(self)
        new.layers = nnx.List(layers)
        return out, new

    def _apply(self, x: jax.Array, layers: list[Any], key: jax.Array | None) -> jax.Array:
        batch = batch_shape(x, self.in_shape, where="MLPDiscriminator")
        x = x.reshape(*batch, math.prod(self.in_shape))
        for index, layer in enumerate(layers[:-1]):
            x = leaky(layer(x))
            if key is not None and self.dropout > 0.0:
                x = drop(x, self.dropout, prng.fold_in(key, index))
        return layers[-1](x)[..., 0]


def updating(layer: Any, new: list[Any]) -> Any:
    """``layer`` as a function that runs in training mode and appends the new layer to ``new``, or itself."""

    def apply(x: jax.Array) -> jax.Array:
        y, after = (
            layer.apply_and_update(x) if hasattr(layer, "apply_and_update") else (layer(x), layer)
        )
        new.append(after)
        return y

    return apply


def check_widths(where: str, widths: Sequence[int], dropout: float = 0.0) -> None:
    """Reject impossible networks.

    Raises:
      ValueError: no hidden layer, one without units, or ``dropout`` out of range.
    """
    if len(widths) < 1 or min(widths) < 1:
        raise ValueError(f"{where}: widths must be one or more numbers >= 1, got {list(widths)}.")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"{where}: dropout must be in [0, 1), got {dropout}.")
