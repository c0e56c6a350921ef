"""``dgmjax.fit_density``: train a model to sample from an unnormalised density."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import optax

from dgmjax.objectives.reverse_kl import LogDensity, reverse_kl
from dgmjax.training.fit import FitResult
from dgmjax.training.loop import Loop
from dgmjax.training.metrics import MetricsLog
from dgmjax.training.optimizer import default_optimizer
from dgmjax.training.partition import partition
from dgmjax.training.schedule import Progress, Schedule
from dgmjax.training.step import averaged_params, init_state, make_train_step

Model = TypeVar("Model")


def fit_density(
    model: Model,
    log_density: LogDensity,
    *,
    seed: jax.Array,
    steps: int = 2_000,
    num_samples: int = 256,
    learning_rate: float = 1e-3,
    optimizer: optax.GradientTransformation | None = None,
    ema_decay: float = 0.99,
    eval_every: int = 100,
    progress: bool | None = None,
) -> FitResult[Model]:
    """Fit ``model`` to the density ``exp(log_density) / Z`` by the reverse Kullback-Leibler divergence.

    Args:
      model: a flow with ``sample_and_log_prob``; not changed.
      log_density: log of the unnormalised density of one event, ``[*event] -> []``.
      seed: typed key.
      steps: optimizer steps.
      num_samples: samples a step.
      learning_rate: peak of the default optimizer, as in `dgmjax.fit`.
      optimizer: an optax transformation to use instead.
      ema_decay: decay of the averaged weights that are returned.
      eval_every: steps between records.
      progress: show a progress bar; default: if standard error is a terminal.

    Returns:
      The trained model; ``history`` holds ``log_z_bound``, the mean of ``log p~(x) - log q(x)`` over each window of
      steps: a lower bound on ``log Z`` in expectation.

    Raises:
      FloatingPointError: the loss became NaN or infinite.
    """
    params, fixed, merge = partition(model)
    if optimizer is None:
        optimizer = default_optimizer(learning_rate=learning_rate, steps=steps, clip_norm=10.0)
    state = init_state(params, fixed, optimizer)
    loop = Loop(
        train_step=make_train_step(
            reverse_kl(log_density, num_samples=num_samples),
            merge,
            optimizer,
            key=seed,
            ema_decay=ema_decay,
        ),
        batches=lambda step: {},
        evaluated=averaged_params,
        evaluate=None,
        schedule=Schedule(steps, eval_every),
        log=MetricsLog(None),
        labels={"bound": "reverse KL up to log Z"},
        show_progress=progress,
    )
    state, best, position = loop.run(state, jax.tree.map(jnp.copy, state.params), Progress())
    return FitResult(merge(best, state.fixed), loop.log.records, position.best_step, position.step)
