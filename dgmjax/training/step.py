"""The train step: a pure function ``(state, batch) -> (state, metrics)``."""

import inspect
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
      step: batches seen so far; randomness is folded from it, so a restart replays the same noise.
      updates: how many of them changed the parameters; the others gave numbers that are not finite and were skipped.
      params: trainable arrays by name.
      fixed: the model's other arrays by name; no step changes them.
      opt_state: of the optimizer.
      average: running sum of the exponential moving average of ``params``, not yet debiased.
    """

    step: jax.Array
    updates: jax.Array
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
        updates=jnp.zeros((), jnp.int32),
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
    accumulate: int = 1,
    steps_per_call: int = 1,
) -> Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]:
    """Jit one optimizer step, or several in a row; the input state is donated.

    A step whose loss, gradient or update is not finite changes nothing but ``step``; its metrics count for nothing, and
    ``skipped`` is 1.

    ``average <- d average + (1 - d) params`` is kept undivided; `averaged_params` debiases it.

    Args:
      loss: ``loss(model, batch, key) -> (scalar, metrics)``: the mean over the rows of the batch, and metrics as pairs
        (sum, count). ``key`` has one key for each row, or is one key if the batch is empty. A loss with an argument
        ``step`` also gets the number of the step, for a schedule of its own.
      merge: puts a model together from ``params`` and ``fixed``.
      optimizer: any optax transformation.
      key: base key; step ``n`` uses ``fold_in(key, n)``, and row ``i`` that folded with ``i``.
      ema_decay: ``d``; 0 follows the parameters themselves.
      parallel: how to spread the step over devices; default all of them, `Parallel`.
      accumulate: parts into which a device cuts its rows; their gradients are averaged before the update.
      steps_per_call: with more than 1, the function takes so many steps in one program, on batches that are stacked
        along a first axis, and returns stacked metrics. For small models, whose step costs less than its dispatch.
    """
    parallel = Parallel() if parallel is None else parallel

    gradient = make_gradient(loss, merge, key=key, accumulate=accumulate)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        return update(state, *gradient(state, state.step, batch))

    def device_step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        (value, metrics), grads = gradient(state, state.step, batch, shard=jax.lax.axis_index(AXIS))
        value, grads = jax.lax.pmean((value, grads), AXIS)
        return update(state, (value, jax.lax.psum(metrics, AXIS)), grads)

    def update(
        state: TrainState, outcome: tuple[jax.Array, Metrics], grads: Arrays
    ) -> tuple[TrainState, StepMetrics]:
        value, metrics = outcome
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        update_norm = optax.tree.norm(updates)
        good = jnp.isfinite(value) & jnp.isfinite(grad_norm) & jnp.isfinite(update_norm)
        params = optax.apply_updates(state.params, updates)
        average = optax.tree.update_moment(params, state.average, ema_decay, 1)
        params, opt_state, average = jax.tree.map(
            lambda new, old: jnp.where(good, new, old),
            (params, opt_state, average),
            (state.params, state.opt_state, state.average),
        )
        one = jnp.ones((), value.dtype)
        metrics = metrics | {
            "loss": (value, one),
            "grad_norm": (grad_norm, one),
            "param_norm": (optax.tree.norm(params), one),
            "update_norm": (update_norm, one),
        }
        metrics = jax.tree.map(lambda a: jnp.where(good, a, jnp.zeros_like(a)), metrics)
        metrics["skipped"] = (1 - good.astype(value.dtype), one)
        updated = state.updates + good.astype(jnp.int32)
        new = TrainState(state.step + 1, updated, params, state.fixed, opt_state, average)
        return new, StepMetrics.pack(metrics)

    if steps_per_call == 1:
        return parallel.compile(step, device_step)
    return parallel.compile(
        lambda state, batches: jax.lax.scan(step, state, batches),
        lambda state, batches: jax.lax.scan(device_step, state, batches),
        stacked=True,
    )


def batch_keys(key: jax.Array, batch: Any, *, shard: int | jax.Array = 0) -> jax.Array:
    """A key for each row of ``batch``, of which earlier shards have as many; ``key`` itself for an empty batch."""
    leaves = jax.tree.leaves(batch)
    if not leaves:
        return key
    rows = len(leaves[0])
    return example_keys(key, rows, start=shard * rows)


def averaged_params(state: TrainState, ema_decay: float) -> Arrays:
    """The debiased exponential moving average, ``average / (1 - d^updates)``: fresh arrays.

    Source: Kingma and Ba, 2015, *Adam*, arXiv:1412.6980, section 3 (the debiasing) and section 7.2.
    """
    debiased = optax.tree.bias_correction(state.average, ema_decay, jnp.maximum(state.updates, 1))
    # Nothing is averaged before the first update.
    return jax.tree.map(
        lambda average, param: jnp.where(state.updates > 0, average, param), debiased, state.params
    )


def make_gradient(
    loss: Loss,
    merge: Callable[[Arrays, Arrays], Any],
    *,
    key: jax.Array,
    accumulate: int = 1,
) -> Callable[..., Any]:
    """``(state, step, batch, shard=0) -> ((loss, metrics), gradients)`` with the randomness of that step.

    With ``accumulate`` parts the batch is cut into so many, taken one after the other: the mean of their means, which
    is that of the batch, in the activation memory of one part.
    """

    def gradient(
        state: TrainState, step: jax.Array, batch: Any, *, shard: int | jax.Array = 0
    ) -> Any:
        keys = batch_keys(jax.random.fold_in(key, step), batch, shard=shard)

        def objective(params: Arrays, batch: Any, keys: jax.Array) -> tuple[jax.Array, Metrics]:
            return call_loss(loss, merge(params, state.fixed), batch, keys, step)

        def one(part: tuple[Any, jax.Array]) -> Any:
            return jax.value_and_grad(objective, has_aux=True)(state.params, *part)

        if accumulate == 1 or keys.ndim == 0:
            return one((batch, keys))
        # Every k-th row goes to the same part, so that a device finds all its rows at home.
        parts = jax.tree.map(
            lambda rows: rows.reshape(-1, accumulate, *rows.shape[1:]).swapaxes(0, 1), (batch, keys)
        )
        zeros = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(one, jax.tree.map(lambda rows: rows[0], parts)),
        )
        total, _ = jax.lax.scan(
            lambda total, part: (jax.tree.map(jnp.add, total, one(part)), None), zeros, parts
        )
        (value, metrics), grads = total
        value, grads = jax.tree.map(lambda leaf: leaf / accumulate, (value, grads))
        return (value, metrics), grads

    return gradient


def call_loss(
    loss: Loss, model: Any, batch: Any, key: jax.Array, step: jax.Array | None
) -> tuple[jax.Array, Metrics]:
    """``loss(model, batch, key)``, with ``step=step`` if it has such an argument."""
    if step is not None and "step" in inspect.signature(loss).parameters:
        return loss(model, batch, key, step=step)  # type: ignore[call-arg]
    return loss(model, batch, key)


def make_eval_step(
    loss: Loss, merge: Callable[[Arrays, Arrays], Any]
) -> Callable[[Arrays, Arrays, Any, jax.Array], StepMetrics]:
    """Jit the metrics of ``loss`` on one batch, without gradients: ``(params, fixed, batch, key) -> metrics``."""

    def step(params: Arrays, fixed: Arrays, batch: Any, key: jax.Array) -> StepMetrics:
        return StepMetrics.pack(loss(merge(params, fixed), batch, batch_keys(key, batch))[1])

    return jax.jit(step)
