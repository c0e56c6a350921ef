"""The train step: a pure function ``(state, batch) -> (state, metrics)``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgmjax.numerics.random import example_keys
from dgmjax.training.metrics import StepMetrics
from dgmjax.training.parallel import AXIS, Parallel
from dgmjax.training.partition import Arrays

Metrics = dict[str, tuple[jax.Array, jax.Array]]
Loss = Callable[[Any, Any, jax.Array], tuple[jax.Array, Metrics]]


class TrainState(NamedTuple):
    """Everything a step changes.

    Attributes:
      step: optimizer steps taken so far; randomness is folded from it, so a restart replays the same noise.
      params: trainable arrays by name.
      fixed: the model's other arrays by name; no step changes them.
      opt_state: of the optimizer.
      average: running sum of the exponential moving average of ``params``, not yet debiased.
    """

    step: jax.Array
    params: Arrays
    fixed: Arrays
    opt_state: optax.OptState
    average: Arrays


def init_state(
    params: Arrays, fixed: Arrays, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first step; copies, since the step donates its input."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=jax.tree.map(jnp.copy, params),
        fixed=jax.tree.map(jnp.copy, fixed),
        opt_state=optimizer.init(params),
        average=jax.tree.map(jnp.zeros_like, params),
    )


def make_train_step(
    loss: Loss,
    merge: Callable[[Arrays, Arrays], Any],
    optimizer: optax.GradientTransformation,
    *,
    key: jax.Array,
    ema_decay: float,
    parallel: Parallel | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]:
    """Jit one optimizer step; the input state is donated.

    ``average <- d average + (1 - d) params`` is kept undivided; `averaged_params` debiases it.

    Args:
      loss: ``loss(model, batch, key) -> (scalar, metrics)``: the mean over the rows of the batch, and metrics as pairs
        (sum, count). ``key`` has one key for each row, or is one key if the batch is empty.
      merge: puts a model together from ``params`` and ``fixed``.
      optimizer: any optax transformation.
      key: base key; step ``n`` uses ``fold_in(key, n)``, and row ``i`` that folded with ``i``.
      ema_decay: ``d``; 0 follows the parameters themselves.
      parallel: how to spread the step over devices; default all of them, `Parallel`.
    """
    parallel = Parallel() if parallel is None else parallel

    def gradient(state: TrainState, batch: Any, *, shard: int | jax.Array = 0) -> Any:
        step_key = jax.random.fold_in(key, state.step)
        keys = batch_keys(step_key, batch, shard=shard)

        def objective(params: Arrays) -> tuple[jax.Array, Metrics]:
            return loss(merge(params, state.fixed), batch, keys)

        return jax.value_and_grad(objective, has_aux=True)(state.params)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        return update(state, *gradient(state, batch))

    def device_step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        (value, metrics), grads = gradient(state, batch, shard=jax.lax.axis_index(AXIS))
        value, grads = jax.lax.pmean((value, grads), AXIS)
        return update(state, (value, jax.lax.psum(metrics, AXIS)), grads)

    def update(
        state: TrainState, outcome: tuple[jax.Array, Metrics], grads: Arrays
    ) -> tuple[TrainState, StepMetrics]:
        value, metrics = outcome
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = optax.tree.update_moment(params, state.average, ema_decay, 1)
        one = jnp.ones((), value.dtype)
        metrics = metrics | {
            "loss": (value, one),
            "grad_norm": (optax.tree.norm(grads), one),
            "param_norm": (optax.tree.norm(params), one),
            "update_norm": (optax.tree.norm(updates), one),
        }
        new = TrainState(state.step + 1, params, state.fixed, opt_state, average)
        return new, StepMetrics.pack(metrics)

    return parallel.compile(step, device_step)


def batch_keys(key: jax.Array, batch: Any, *, shard: int | jax.Array = 0) -> jax.Array:
    """A key for each row of ``batch``, of which earlier shards have as many; ``key`` itself for an empty batch."""
    leaves = jax.tree.leaves(batch)
    if not leaves:
        return key
    rows = len(leaves[0])
    return example_keys(key, rows, start=shard * rows)


def averaged_params(state: TrainState, ema_decay: float) -> Arrays:
    """The debiased exponential moving average, ``average / (1 - d^step)``: fresh arrays.

    Source: Kingma and Ba, 2015, *Adam*, arXiv:1412.6980, section 3 (the debiasing) and section 7.2.
    """
    return optax.tree.bias_correction(state.average, ema_decay, state.step)


def make_eval_step(
    loss: Loss, merge: Callable[[Arrays, Arrays], Any]
) -> Callable[[Arrays, Arrays, Any, jax.Array], StepMetrics]:
    """Jit the metrics of ``loss`` on one batch, without gradients: ``(params, fixed, batch, key) -> metrics``."""

    def step(params: Arrays, fixed: Arrays, batch: Any, key: jax.Array) -> StepMetrics:
        return StepMetrics.pack(loss(merge(params, fixed), batch, batch_keys(key, batch))[1])

    return jax.jit(step)
