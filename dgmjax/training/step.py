"""The train step: a pure function ``(state, batch) -> (state, metrics)``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgmjax.training.metrics import StepMetrics
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
) -> Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]:
    """Jit one optimizer step; the input state is donated.

    ``average <- d average + (1 - d) params`` is kept undivided; `averaged_params` debiases it.

    Args:
      loss: ``loss(model, batch, key) -> (scalar, metrics)``, metrics as pairs (sum, count).
      merge: puts a model together from ``params`` and ``fixed``.
      optimizer: any optax transformation.
      key: base key; step ``n`` uses ``fold_in(key, n)``.
      ema_decay: ``d``; 0 follows the parameters themselves.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        step_key = jax.random.fold_in(key, state.step)

        def objective(params: Arrays) -> tuple[jax.Array, Metrics]:
            return loss(merge(params, state.fixed), batch, step_key)

        (value, metrics), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
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

    return jax.jit(step, donate_argnums=0)


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
        return StepMetrics.pack(loss(merge(params, fixed), batch, key)[1])

    return jax.jit(step)
