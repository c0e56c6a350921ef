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
) -> Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]:
    """Jit one optimizer step; the input state is donated.

    A step whose loss, gradient or update is not finite changes nothing but ``step``; its metrics count for nothing, and
    ``skipped`` is 1.

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

    gradient = _make_gradient(loss, merge, key)

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

    return parallel.compile(step, device_step)


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


def make_diagnosis(
    loss: Loss, merge: Callable[[Arrays, Arrays], Any], *, key: jax.Array
) -> Callable[[TrainState, int, Any], str]:
    """``(state, step, batch) -> text``: the first term that is not finite when that step is taken from ``state``.

    Terms are looked at in the order metrics, loss, gradients by name. ``batch`` is the whole batch of the step.
    """
    gradient = _make_gradient(loss, merge, key)
    names: list[str] = []  # set while tracing; a dict would come out sorted

    @jax.jit
    def terms(state: TrainState, step: jax.Array, batch: Any) -> list[jax.Array]:
        (value, metrics), grads = gradient(state, step, batch)
        named = {name: jnp.asarray(total) for name, (total, _) in metrics.items()}
        named |= {"loss": value} | {f"the gradient of {name}": g for name, g in grads.items()}
        names[:] = named
        return [jnp.isfinite(array).all() for array in named.values()]

    def diagnose(state: TrainState, step: int, batch: Any) -> str:
        finite = jax.device_get(terms(state, jnp.asarray(step, jnp.int32), batch))
        bad = [name for name, good in zip(names, finite, strict=True) if not good]
        return bad[0] if bad else "the update of the optimizer"

    return diagnose


def _make_gradient(
    loss: Loss, merge: Callable[[Arrays, Arrays], Any], key: jax.Array
) -> Callable[..., Any]:
    """``(state, step, batch, shard=0) -> ((loss, metrics), gradients)`` with the randomness of that step."""

    def gradient(
        state: TrainState, step: jax.Array, batch: Any, *, shard: int | jax.Array = 0
    ) -> Any:
        keys = batch_keys(jax.random.fold_in(key, step), batch, shard=shard)

        def objective(params: Arrays) -> tuple[jax.Array, Metrics]:
            return loss(merge(params, state.fixed), batch, keys)

        return jax.value_and_grad(objective, has_aux=True)(state.params)

    return gradient


def make_eval_step(
    loss: Loss, merge: Callable[[Arrays, Arrays], Any]
) -> Callable[[Arrays, Arrays, Any, jax.Array], StepMetrics]:
    """Jit the metrics of ``loss`` on one batch, without gradients: ``(params, fixed, batch, key) -> metrics``."""

    def step(params: Arrays, fixed: Arrays, batch: Any, key: jax.Array) -> StepMetrics:
        return StepMetrics.pack(loss(merge(params, fixed), batch, batch_keys(key, batch))[1])

    return jax.jit(step)
