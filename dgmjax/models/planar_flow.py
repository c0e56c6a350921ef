"""Planar and radial flows on vectors."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx

from dgmjax.bijectors.nonlinearity import Nonlinearity, NonlinearityName
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.planar import Planar
from dgmjax.layers.radial import Radial
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.stack import Stack
from dgmjax.models.couplings import first_layer
from dgmjax.nets.mlp import MLP


@recorded
class PlanarFlow(Flow):
    """``depth`` planar layers ``u + v h(w.u + b)``, each with one bump along one direction.

    Args:
      event_shape: ``(d,)``.
      depth: number of layers.
      h: nonlinearity, ``"tanh"``, ``"sigmoid"``, ``"softplus"``, ``"leaky_relu"``, or a
        `dgmjax.bijectors.Nonlinearity`.
      fast: ``"density"`` applies the formula from data to latent, for maximum likelihood; ``"sampling"`` from latent
        to data as in the paper, for reverse KL and posteriors. The other direction is one scalar root a layer.
      context_shape: ``(c,)`` for a conditional flow, whose layers get all their parameters from a network.
      width: hidden units of the network of a conditional flow.
      hidden_layers: hidden layers of that network.
      preprocess: a fixed first layer on the data.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    A fresh flow is its preprocessing followed by the identity.

    Source: Rezende and Mohamed, 2015, *Variational inference with normalizing flows*, arXiv:1505.05770, section 4.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 16,
        h: NonlinearityName | Nonlinearity = "tanh",
        fast: str = "density",
        context_shape: Sequence[int] | None = None,
        width: int = 64,
        hidden_layers: int = 2,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        make = functools.partial(Planar, event_shape, h=h, rngs=rngs)
        stack = _stack(
            make,
            depth,
            fast,
            _conditioning(context_shape, width, hidden_layers, rngs),
        )
        super().__init__(Chain([*first_layer(preprocess), stack]), base)


@recorded
class RadialFlow(Flow):
    """``depth`` radial layers, each pulling towards or pushing from one centre; arguments as in `PlanarFlow`.

    Both directions are in closed form, so ``fast`` chooses only which one has the formula of the paper.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, section 4.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 16,
        fast: str = "density",
        context_shape: Sequence[int] | None = None,
        width: int = 64,
        hidden_layers: int = 2,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        make = functools.partial(Radial, event_shape, rngs=rngs)
        stack = _stack(
            make,
            depth,
            fast,
            _conditioning(context_shape, width, hidden_layers, rngs),
        )
        super().__init__(Chain([*first_layer(preprocess), stack]), base)


def _conditioning(
    context_shape: Sequence[int] | None, width: int, hidden_layers: int, rngs: nnx.Rngs
) -> dict[str, Any]:
    if context_shape is None:
        return {}
    net = functools.partial(MLP, width=width, depth=hidden_layers, rngs=rngs)
    return {"context_shape": context_shape, "make_conditioner": net}


def _stack(
    make: Callable[..., Bijector], depth: int, fast: str, options: dict[str, Any]
) -> Bijector:
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}.")
    if fast not in ("density", "sampling"):
        raise ValueError(f"fast: expected 'density' or 'sampling', got {fast!r}.")
    stack = Stack([make(**options) for _ in range(depth)])
    return Inverse(stack) if fast == "density" else stack
