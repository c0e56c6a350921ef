"""The train step: a pure function ``(state, batch) -> (state, metrics)``."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from dgmjax.training.gradient import (
    Gradient,
    Loss,
    Metrics,
    batch_keys,
    make_gradient,
    named_losses,
    params_below,
)
from dgmjax.training.metrics import StepMetrics
from dgmjax.training.parallel import AXIS, Parallel
from dgmjax.training.partition import Arrays

Optimizer: TypeAlias = optax.GradientTransformation


class TrainState(NamedTuple):
    """Everything a step changes.

    Attributes:
      step: batches seen so far; randomness is folded from it, so a restart replays the same noise.
      updates: how many of them changed the parameters; the others gave numbers that are not finite and were skipped.
      params: trainable arrays by name.
      fixed: the model's other arrays by name; a step changes those of them that are running statistics.
      opt_state: of the optimizer, or of each by name.
      average: the debiased exponential moving average of ``params``; those of the start before the first update.
    """

    step: jax.Array
    updates: jax.Array
    params: Arrays
    fixed: Arrays
    opt_state: optax.OptState
    average: Arrays


def init_state(
    params: Arrays, fixed: Arrays, optimizer: Optimizer | Mapping[str, Optimizer]
) -> TrainState:
    """The state before the first step; copies, since the step donates its input."""
    if isinstance(optimizer, Mapping):
        opt_state = {
            name: part.init(params_below(params, name)) for name, part in optimizer.items()
        }
    else:
        opt_state = optimizer.init(params)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        updates=jnp.zeros((), jnp.int32),
        params=jax.tree.map(jnp.copy, params),
        fixed=jax.tree.map(jnp.copy, fixed),
        opt_state=opt_state,
        average=jax.tree.map(jnp.copy, params),
    )


def make_train_step(
    loss: Loss | Mapping[str, Loss],
    merge: Callable[[Arrays, Arrays], Any],
    optimizer: Optimizer | Mapping[str, Optimizer],
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

    The average of the weights is ``sum_k d^(n-k) params_k / sum_k d^(n-k)`` over the ``n`` updates so far, kept in that
    debiased form (Kingma and Ba, 2015, arXiv:1412.6980, sections 3 and 7.2): a parameter that no update changes is its
    own average, to the last bit.

    Several losses by name, ``{"generator": f, "discriminator": g}``, are taken in that order within a step. Each
    trains the parameters of that attribute of the model with its own optimizer and its own noise, and sees what the
    ones before changed; its metrics have its name in front (``generator_loss``).

    Args:
      loss: ``loss(model, batch, key) -> (scalar, metrics)``: the mean over the rows of the batch, and metrics as pairs
        (sum, count). ``key`` has one key for each row, or is one key if the batch is empty. A loss with an argument
        ``step`` also gets the number of the step, for a schedule of its own. A third result, the model after the step,
        brings new running statistics (``nnx.BatchStat``); gradients do not reach them. Or losses by name, see above.
      merge: puts a model together from ``params`` and ``fixed``.
      optimizer: any optax transformation; one for each loss, by name, if there are several.
      key: base key; step ``n`` uses ``fold_in(key, n)``, and row ``i`` that folded with ``i``.
      ema_decay: ``d``; 0 follows the parameters themselves.
      parallel: how to spread the step over devices; default all of them, `Parallel`. With ``"jit"`` the statistics of
        a batch are those of all of it, with ``"shard_map"`` and ``"pmap"`` those of each device's part, averaged.
      accumulate: parts into which a device cuts its rows; their gradients are averaged before the update.
      steps_per_call: with more than 1, the function takes so many steps in one program, on batches that are stacked
        along a first axis, and returns stacked metrics. For small models, whose step costs less than its dispatch.

    Raises:
      ValueError: losses and optimizers with other names.
    """
    parallel = Parallel() if parallel is None else parallel
    optimizers = _by_loss(loss, optimizer)
    gradients = {
        name: make_gradient(part, merge, key=part_key, accumulate=accumulate, below=name)
        for name, part, part_key in named_losses(loss, key)
    }

    def step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        return take(state, lambda gradient, new: gradient(new, state.step, batch))

    def device_step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        def averaged(gradient: Any, new: TrainState) -> Gradient:
            found = gradient(new, state.step, batch, shard=jax.lax.axis_index(AXIS))
            mean = jax.lax.pmean(found._replace(metrics={}), AXIS)
            return mean._replace(metrics=jax.lax.psum(found.metrics, AXIS))

        return take(state, averaged)

    def take(
        state: TrainState, evaluate: Callable[[Any, TrainState], Gradient]
    ) -> tuple[TrainState, StepMetrics]:
        metrics: Metrics = {}
        new, good = state, jnp.asarray(True)  # noqa: FBT003
        for name, gradient in gradients.items():
            found = evaluate(gradient, new)
            new, norms = _updated(new, found, optimizers[name], name)
            numbers = {"loss": found.value} | norms
            for value in numbers.values():
                good = good & jnp.isfinite(value)
            one = jnp.ones((), found.value.dtype)
            prefix = f"{name}_" if name else ""
            named = found.metrics | {label: (value, one) for label, value in numbers.items()}
            metrics |= {prefix + label: pair for label, pair in named.items()}
        average = _averaged(new.params, state.average, ema_decay, state.updates)
        statistics = {k: leaf for k, leaf in new.fixed.items() if leaf is not state.fixed[k]}
        changed = (new.params, new.opt_state, average, statistics)
        before = {k: state.fixed[k] for k in statistics}
        params, opt_state, average, statistics = jax.tree.map(
            lambda new, old: jnp.where(good, new, old),
            changed,
            (state.params, state.opt_state, state.average, before),
        )
        metrics["param_norm"] = (optax.tree.norm(params), one)
        metrics = jax.tree.map(lambda a: jnp.where(good, a, jnp.zeros_like(a)), metrics)
        metrics["skipped"] = (1 - good.astype(one.dtype), one)
        updated = state.updates + good.astype(jnp.int32)
        fixed = state.fixed | statistics
        new = TrainState(state.step + 1, updated, params, fixed, opt_state, average)
        return new, StepMetrics.pack(metrics)

    if steps_per_call == 1:
        return parallel.compile(step, device_step)
    return parallel.compile(
        lambda state, batches: jax.lax.scan(step, state, batches),
        lambda state, batches: jax.lax.scan(device_step, state, batches),
        stacked=True,
    )


def _by_loss(
    loss: Loss | Mapping[str, Loss], optimizer: Optimizer | Mapping[str, Optimizer]
) -> Mapping[str, Optimizer]:
    losses = set(loss) if isinstance(loss, Mapping) else {""}
    optimizers = optimizer if isinstance(optimizer, Mapping) else {"": optimizer}
    if set(optimizers) != losses or not losses:
        raise ValueError(
            f"optimizer: expected one for each loss, with the names {sorted(losses)}, got {sorted(optimizers)}; a "
            f"single loss, without a name, has a single optimizer."
        )
    return optimizers


def _updated(
    state: TrainState, found: Gradient, optimizer: Optimizer, name: str
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The state after the update of one loss, and norms."""
    own = params_below(state.params, name)
    opt_state = state.opt_state[name] if name else state.opt_state
    updates, opt_state = optimizer.update(found.grads, opt_state, own)
    params = state.params | optax.apply_updates(own, updates)
    norms = {"grad_norm": optax.tree.norm(found.grads), "update_norm": optax.tree.norm(updates)}
    new = state._replace(
        params=params,
        fixed=state.fixed | found.statistics,
        opt_state=state.opt_state | {name: opt_state} if name else opt_state,
    )
    return new, norms


def _averaged(params: Arrays, average: Arrays, decay: float, updates: jax.Array) -> Arrays:
    """The debiased average after one more update, ``p - r (p - a)``, ``r = d (1 - d^n) / (1 - d^(n+1))``.

    In this form ``p = a`` gives ``p`` and ``r = 0``, of the first update and of ``d = 0``, gives ``p``, both exactly;
    and an average goes on with another ``d``.
    """
    if decay == 0:
        return params
    old = updates.astype(jnp.result_type(float)) * math.log(decay)
    kept = decay * jnp.expm1(old) / jnp.expm1(old + math.log(decay))
    return {
        name: param - kept.astype(param.dtype) * (param - average[name])
        for name, param in params.items()
    }


def averaged_params(state: TrainState, *, statistics: tuple[str, ...] = ()) -> Arrays:
    """The average of the weights, as fresh arrays: what is evaluated and returned.

    With the running ``statistics``, by name, as they are: what belongs to an evaluation besides ``state.fixed``.
    """
    params = {name: jnp.copy(array) for name, array in state.average.items()}
    return params | {name: jnp.copy(state.fixed[name]) for name in statistics}


def make_eval_step(
    loss: Loss, merge: Callable[[Arrays, Arrays], Any]
) -> Callable[[Arrays, Arrays, Any, jax.Array], StepMetrics]:
    """Jit the metrics of ``loss`` on one batch, without gradients: ``(params, fixed, batch, key) -> metrics``."""

    def step(params: Arrays, fixed: Arrays, batch: Any, key: jax.Array) -> StepMetrics:
        return StepMetrics.pack(loss(merge(params, fixed), batch, batch_keys(key, batch))[1])

    return jax.jit(step)
