"""dgmjax in the race of densities of tables, and the step that JAX libraries take there."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import dgmjax as dgm
from experiments.benchmarks._dgmjax import count
from experiments.benchmarks._tables_work import Contestant, Work

_ROWS = 8_192


def autoregressive(dim: int, work: Work) -> Contestant:
    """`dgmjax.MAF` with splines."""
    flow = dgm.MAF(
        (dim,), depth=work.depth, width=work.width, transformer="spline", num_bins=work.bins,
        bound=work.bound, rngs=nnx.Rngs(0),
    )  # fmt: skip
    note = f"linear={_default(dgm.MAF, 'linear')!r}: its default; orders alternate"
    return _of_dgmjax("dgmjax, autoregressive", flow, work, note)


def coupling(dim: int, work: Work) -> Contestant:
    """`dgmjax.NeuralSplineFlow`, two couplings for each autoregressive layer."""
    flow = dgm.NeuralSplineFlow(
        (dim,), depth=2 * work.depth, width=work.width, num_bins=work.bins, bound=work.bound,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    note = f"linear={_default(dgm.NeuralSplineFlow, 'linear')!r}: its default; masks alternate"
    return _of_dgmjax("dgmjax, coupling", flow, work, note)


def _default(cls: Any, option: str) -> Any:
    return inspect.signature(cls.__init__).parameters[option].default


def _of_dgmjax(name: str, flow: Any, work: Work, note: str) -> Contestant:
    params, fixed, merge = dgm.training.partition(flow)
    return trained(
        name, params, lambda params: merge(params, fixed), lambda flow, x: flow.log_prob(x), work,
        note,
    )  # fmt: skip


def trained(
    name: str,
    params: Any,
    merge: Callable[[Any], Any],
    log_prob: Callable[[Any, jax.Array], jax.Array],
    work: Work,
    note: str,
) -> Contestant:
    """A contestant of JAX: one compiled step a batch."""
    rates = jnp.asarray([work.rate(step) for step in range(work.steps)])
    optimizer = optax.chain(
        optax.clip_by_global_norm(work.clip),
        optax.adam(lambda step: rates[jnp.minimum(step, work.steps - 1)]),
    )
    state = jax.tree.map(jnp.copy, params), optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: jax.Array) -> Any:
        params, moments = state
        grads = jax.grad(lambda params: -log_prob(merge(params), x).mean())(params)
        updates, moments = optimizer.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments

    @jax.jit
    def log_probs(params: Any, x: jax.Array) -> jax.Array:
        return log_prob(merge(params), x)

    def train(batches: np.ndarray) -> None:
        nonlocal state
        for batch in batches:
            state = step(state, batch)
        jax.block_until_ready(state)

    def evaluate(x: np.ndarray) -> np.ndarray:
        return np.asarray(
            dgm.numerics.map_rows(lambda rows: log_probs(state[0], rows), x, batch_size=_ROWS)
        )

    return Contestant(name, train, evaluate, count(params), note)
