"""Times of Glow: training steps, and samples beside densities."""

import importlib
import importlib.util

import jax
import jax.numpy as jnp
import optax

from dgmjax.training import partition
from experiments.benchmarks._image_work import Goal, Work, glow, images, loss
from experiments.benchmarks._timing import Row, System, race
from experiments.benchmarks._training_work import Part

_PEER = "normflows"


def step_time(work: Work) -> Part:
    """An Adam step, reversible, plain and remat, and that of normflows."""
    rows: list[Row] = []
    goals: list[Goal] = []
    x = images(work.side, work.batch)
    for depth in work.step_depths:
        task = f"training step, depth {depth}"
        systems = [
            training_system("reversible scan", glow(work, depth), x),
            training_system("plain scan", glow(work, depth, reversible=False), x),
            training_system("remat scan", glow(work, depth, reversible=False, remat=True), x),
        ]
        installed = importlib.util.find_spec(_PEER) is not None
        if installed:
            peer = importlib.import_module("experiments.benchmarks._image_normflows")
            systems.append(peer.training_system(work, depth, x))
        raced = race(task, systems, rounds=work.rounds, calls=work.calls)
        rows += raced
        ratios = {row.system: row.ratio for row in raced}
        goals.append(Goal(f"{task}, reversible / plain", ratios["plain scan"] or 0.0, 1.35))
        if installed:
            goals.append(Goal(f"{task}, reversible / normflows", ratios[_PEER] or 0.0, 1.15))
        else:
            rows.append(Row(task, _PEER, "not installed", None))  # type: ignore[arg-type]
    return Part(rows, {"goals": goals})


def sampling(work: Work) -> Part:
    """As many images as a batch drawn, beside the densities of a batch."""
    flow = glow(work, work.sampling_depth)
    params, fixed, merge = partition(flow)
    x, key = images(work.side, work.batch), jax.random.key(1)

    @jax.jit
    def density(params: dict, fixed: dict, x: jax.Array) -> jax.Array:
        return merge(params, fixed).log_prob(x)

    @jax.jit
    def draw(params: dict, fixed: dict, key: jax.Array) -> jax.Array:
        return merge(params, fixed).sample(seed=key, sample_shape=work.batch)

    systems = [
        System("samples", lambda: jax.block_until_ready(draw(params, fixed, key))),
        System("densities", lambda: jax.block_until_ready(density(params, fixed, x))),
    ]
    task = f"{work.batch} images, depth {work.sampling_depth}"
    rows = race(task, systems, rounds=work.rounds, calls=work.calls)
    return Part(rows, {"goals": [Goal("samples / densities", rows[1].ratio or 0.0, 1.5)]})


def training_system(name: str, flow: object, x: jax.Array) -> System:
    """Value and gradient and Adam's update in one jitted call, whose state is donated."""
    params, fixed, merge = partition(flow)
    optimizer = optax.adam(1e-3)
    gradient = jax.value_and_grad(loss(merge))

    def step(params: dict, state: optax.OptState, fixed: dict, x: jax.Array) -> tuple:
        value, grads = gradient(params, fixed, x)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    compiled = jax.jit(step, donate_argnums=(0, 1))
    current = jax.tree.map(jnp.copy, params), optimizer.init(params)

    def run() -> None:
        nonlocal current
        *rest, value = compiled(*current, fixed, x)
        current = (rest[0], rest[1])
        jax.block_until_ready((current, value))

    return System(name, run, sum(value.size for value in params.values()))
