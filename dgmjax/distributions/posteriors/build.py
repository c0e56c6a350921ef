"""Posteriors by name, and the flows among them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer, GatedTransformer
from dgmjax.distributions.posteriors.base import Posterior, check_dim
from dgmjax.distributions.posteriors.flow import FlowPosterior
from dgmjax.distributions.posteriors.gaussian import DiagonalGaussian, FullCovarianceGaussian
from dgmjax.layers.autoregressive import MaskedAutoregressive
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.coupling import Coupling
from dgmjax.layers.permute import Permute
from dgmjax.layers.planar import Planar
from dgmjax.layers.radial import Radial
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.stack import Stack
from dgmjax.layers.sylvester import Sylvester
from dgmjax.nets.mlp import MLP

_MAX_SYLVESTER_UNITS = 16


@recorded
class AmortizedFlow(FlowPosterior):
    """A `DiagonalGaussian` pushed through ``depth`` layers whose parameters depend on the context of the example.

    ========== ==================================================================================================
    kind       layers; the fast direction is always the one that samples
    ========== ==================================================================================================
    planar     `dgmjax.Planar`, all parameters from a network of the context
    radial     `dgmjax.Radial`, likewise
    sylvester  `dgmjax.Sylvester` with ``min(dim, 16)`` units, likewise
    coupling   affine `dgmjax.Coupling` layers whose masks alternate, with the context beside the kept elements
    iaf        inverse autoregressive, gated, the order reversed after every layer; densities of given latents take
               ``dim`` steps
    ========== ==================================================================================================

    A fresh flow is the identity, except for IAF's, whose gates start at ``sigmoid(2) = 0.88``.

    Args:
      kind: one of the table.
      dim: number of latents ``d``; ``"coupling"`` needs two.
      depth: number of layers.
      width: hidden units of the networks.
      context_size: numbers of the features that are the context; 0 for one flow shared by all examples. There are
        ``2 d`` features more, those of the Gaussian.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: unknown kind, or a number out of range.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770 (planar, radial); van den Berg et al., 2018, arXiv:1803.05649
    (Sylvester, amortisation of all parameters); Kingma et al., 2016, arXiv:1606.04934, algorithm 1 (IAF).
    """

    def __init__(
        self,
        kind: str,
        dim: int,
        *,
        depth: int = 4,
        width: int = 64,
        context_size: int = 32,
        rngs: nnx.Rngs,
    ):
        if kind not in _LAYERS:
            raise ValueError(f"AmortizedFlow: expected a kind of {sorted(_LAYERS)}, got {kind!r}.")
        check_dim(dim, where="AmortizedFlow")
        if depth < 1 or width < 1 or context_size < 0:
            raise ValueError(
                f"AmortizedFlow: expected depth >= 1, width >= 1 and context_size >= 0, got {depth}, {width} and "
                f"{context_size}."
            )
        context_shape = (context_size,) if context_size else None
        layers = _LAYERS[kind](dim, depth, width, context_shape, rngs)
        super().__init__(DiagonalGaussian(dim), Chain(layers))


def posterior(
    name: str,
    dim: int,
    *,
    depth: int = 4,
    width: int = 64,
    context_size: int = 32,
    rngs: nnx.Rngs,
) -> Posterior:
    """The posterior called ``name``, over latents ``(dim,)``; its ``feature_size`` is what an encoder must output.

    Args:
      name: ``"gaussian"``, ``"full_covariance"``, or a kind of `AmortizedFlow`: ``"planar"``, ``"radial"``,
        ``"sylvester"``, ``"coupling"``, ``"iaf"``.
      dim: number of latents.
      depth: layers of a flow.
      width: hidden units of the networks of a flow.
      context_size: numbers of the features that are the context of a flow.
      rngs: ``nnx.Rngs`` for the initial weights of a flow.

    Raises:
      ValueError: unknown name, or a number out of range.
    """
    if name == "gaussian":
        return DiagonalGaussian(dim)
    if name == "full_covariance":
        return FullCovarianceGaussian(dim)
    if name not in _LAYERS:
        raise ValueError(
            f"posterior: expected one of {['gaussian', 'full_covariance', *_LAYERS]}, got {name!r}."
        )
    return AmortizedFlow(name, dim, depth=depth, width=width, context_size=context_size, rngs=rngs)


def _ridges(
    layer: Callable[..., Bijector],
    dim: int,
    depth: int,
    width: int,
    context_shape: Sequence[int] | None,
    rngs: nnx.Rngs,
    **options: Any,
) -> list[Bijector]:
    if context_shape is not None:
        net = functools.partial(MLP, width=width, depth=1, rngs=rngs)
        options |= {"context_shape": context_shape, "make_conditioner": net}
    return [Stack([layer((dim,), rngs=rngs, **options) for _ in range(depth)])]


def _sylvester(dim: int, *arguments: Any) -> list[Bijector]:
    units = min(dim, _MAX_SYLVESTER_UNITS)
    return _ridges(functools.partial(Sylvester, num_units=units), dim, *arguments)


def _couplings(
    dim: int, depth: int, width: int, context_shape: Sequence[int] | None, rngs: nnx.Rngs
) -> list[Bijector]:
    if dim < 2:
        raise ValueError(f"AmortizedFlow: couplings need dim >= 2, got {dim}.")
    make = functools.partial(
        Coupling,
        (dim,),
        make_conditioner=functools.partial(MLP, width=width, rngs=rngs),
        transformer=AffineTransformer(),
        context_shape=context_shape,
    )
    mask = np.arange(dim) % 2 == 0
    return _alternating(lambda: [make(mask=mask)], lambda: [make(mask=~mask)], depth)


def _inverse_autoregressive(
    dim: int, depth: int, width: int, context_shape: Sequence[int] | None, rngs: nnx.Rngs
) -> list[Bijector]:
    def step() -> list[Bijector]:
        made = MaskedAutoregressive(
            (dim,),
            transformer=GatedTransformer(bias=2.0),
            width=width,
            activation="elu",
            context_shape=context_shape,
            rngs=rngs,
        )
        return [Inverse(made), Permute.reverse((dim,))]

    layers = _alternating(step, step, depth)
    # A reversal without a partner would leave the latents reversed.
    return layers[:-1] if depth % 2 else layers


def _alternating(
    first: Callable[[], list[Bijector]], second: Callable[[], list[Bijector]], depth: int
) -> list[Bijector]:
    """``depth`` groups of layers by turns; the pairs run as one scan."""
    pairs = [Chain([*first(), *second()]) for _ in range(depth // 2)]
    return [*([Stack(pairs)] if pairs else []), *(first() if depth % 2 else [])]


_LAYERS: dict[str, Callable[..., list[Bijector]]] = {
    "planar": functools.partial(_ridges, Planar),
    "radial": functools.partial(_ridges, Radial),
    "sylvester": _sylvester,
    "coupling": _couplings,
    "iaf": _inverse_autoregressive,
}
