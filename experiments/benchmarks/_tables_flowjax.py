"""flowjax in the race of densities of tables."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow

from experiments.benchmarks._tables_dgmjax import trained
from experiments.benchmarks._tables_work import Contestant, Work


def autoregressive(dim: int, work: Work) -> Contestant:
    """The masked autoregressive flow of flowjax, with splines."""
    return _of_flowjax("flowjax, autoregressive", masked_autoregressive_flow, dim, work.depth, work)


def coupling(dim: int, work: Work) -> Contestant:
    """The coupling flow of flowjax, with splines."""
    return _of_flowjax("flowjax, coupling", coupling_flow, dim, 2 * work.depth, work)


def _of_flowjax(
    name: str, make: Callable[..., Any], dim: int, layers: int, work: Work
) -> Contestant:
    spline = RationalQuadraticSpline(knots=work.bins, interval=work.bound)
    flow = make(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(dim)),
        transformer=spline,
        flow_layers=layers,
        nn_width=work.width,
        nn_depth=2,
    )
    params, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    note = "random permutations between layers; its base has a trainable mean and scale"
    return trained(
        name,
        params,
        lambda params: paramax.unwrap(eqx.combine(params, static)),
        lambda flow, x: flow.log_prob(x),
        work,
        note,
    )
