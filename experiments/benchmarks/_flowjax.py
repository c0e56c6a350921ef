"""flowjax in the races: https://danielward27.github.io/flowjax."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow
from flowjax.train.losses import MaximumLikelihoodLoss
from flowjax.train.train_utils import step

from experiments.benchmarks._dgmjax import count
from experiments.benchmarks._timing import Sizes, System


def coupling(sizes: Sizes) -> Any:
    """Affine couplings on halves with random permutations between; inverted for fast densities, its default."""
    return coupling_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(sizes.dim)),
        flow_layers=sizes.couplings,
        nn_width=sizes.width,
        nn_depth=2,
    )


def maf(sizes: Sizes) -> Any:
    """Affine masked autoregressive layers with random permutations between; inverted for fast densities."""
    return masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(sizes.dim)),
        flow_layers=sizes.mafs,
        nn_width=sizes.width,
        nn_depth=2,
    )


def training_system(model: Any, x: np.ndarray) -> System:
    """The step of its ``fit_to_data``."""
    params, static = _partition(model)
    optimizer, loss = optax.adam(1e-3), MaximumLikelihoodLoss()
    state = params, optimizer.init(params)
    batch, key = jnp.asarray(x), jax.random.key(0)

    def run() -> None:
        nonlocal state
        *new, value = step(
            state[0],
            static,
            batch,
            optimizer=optimizer,
            opt_state=state[1],
            loss_fn=loss,
            key=key,
        )
        state = new[0], new[1]
        jax.block_until_ready((eqx.filter(state, eqx.is_array), value))

    note = "the step of fit_to_data; softplus scales, random permutations between layers, a trained base; no donation"
    return System("flowjax", run, count(params), note)


def sampling_system(model: Any, num: int) -> System:
    """``sample`` under ``eqx.filter_jit``."""
    sample = eqx.filter_jit(lambda model, key: model.sample(key, (num,)))
    key = jax.random.key(1)

    def run() -> None:
        jax.block_until_ready(sample(model, key))

    return System("flowjax", run, count(_partition(model)[0]), "D passes of the network a layer")


def _partition(model: Any) -> tuple[Any, Any]:
    """As its ``fit_to_data`` does."""
    return eqx.partition(
        model, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
