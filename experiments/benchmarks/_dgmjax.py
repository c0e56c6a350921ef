"""dgmjax in the races: its models, its trainer's step, its sampling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from dgmjax.training import TrainState, init_state, make_train_step, partition
from experiments.benchmarks._timing import Sizes, System


def realnvp(sizes: Sizes, *, depth: int | None = None, reversible: bool = False) -> dgm.RealNVP:
    """The RealNVP of the races, or one of another depth."""
    depth = sizes.couplings if depth is None else depth
    return dgm.RealNVP(
        (sizes.dim,), depth=depth, width=sizes.width, reversible=reversible, rngs=nnx.Rngs(0)
    )


def maf(sizes: Sizes) -> dgm.MAF:
    """The MAF of the races."""
    return dgm.MAF((sizes.dim,), depth=sizes.mafs, width=sizes.width, rngs=nnx.Rngs(0))


def count(tree: Any) -> int:
    """How many numbers the arrays of ``tree`` hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if hasattr(leaf, "size"))


def trainer(model: Any) -> tuple[Any, TrainState]:
    """The compiled step of `dgmjax.fit` and its first state."""
    params, fixed, merge = partition(model)
    optimizer = optax.adam(1e-3)
    step = make_train_step(
        dgm.objectives.maximum_likelihood, merge, optimizer, key=jax.random.key(0), ema_decay=0.99
    )
    return step, init_state(params, fixed, optimizer)


def sampling_system(model: Any, num: int) -> System:
    """Jitted `dgmjax.Flow.sample`."""
    sample = jax.jit(lambda model, key: model.sample(seed=key, sample_shape=num))
    key = jax.random.key(1)

    def run() -> None:
        jax.block_until_ready(sample(model, key))

    return System("dgmjax", run, count(partition(model)[0]))


def training_system(model: Any, x: np.ndarray) -> System:
    """The step of `dgmjax.fit`."""
    step, state = trainer(model)
    batch = {"x": jnp.asarray(x)}

    def run() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    note = "the step of dgmjax.fit: averaged weights and three norms besides; scales bounded by tanh; donates its state"
    return System("dgmjax", run, count(state.params), note)


def bare_system(model: Any, x: np.ndarray) -> System:
    """The gradient step alone, for comparison."""
    params, fixed, merge = partition(model)
    optimizer = optax.adam(1e-3)
    batch = jnp.asarray(x)

    @jax.jit
    def step(params: Any, opt_state: Any, x: jax.Array) -> tuple[Any, Any, jax.Array]:
        def loss(params: Any) -> jax.Array:
            return -merge(params, fixed).log_prob(x).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    state = params, optimizer.init(params)

    def run() -> None:
        nonlocal state
        *new, value = step(*state, batch)
        state = new[0], new[1]
        jax.block_until_ready((state, value))

    note = "the same model in a step written by hand: no averages, no norms, no donation"
    return System("dgmjax, bare step", run, count(params), note)
