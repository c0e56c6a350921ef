"""``dgmjax.fit_density``: train a model to sample from an unnormalised density."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgmjax.nets.data_init import as_initialised
from dgmjax.objectives.reverse_kl import LogDensity, reverse_kl
from dgmjax.training.evaluation import Evaluation
from dgmjax.training.loop import Loop
from dgmjax.training.metrics import MetricsLog, StepMetrics, fetch
from dgmjax.training.optimizer import default_optimizer
from dgmjax.training.options import Watch
from dgmjax.training.partition import Arrays, partition
from dgmjax.training.run_state import FitResult
from dgmjax.training.schedule import Progress, Schedule
from dgmjax.training.step import TrainState, init_state, make_train_step
from dgmjax.training.watch.diagnosis import make_diagnosis

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
      FloatingPointError: the loss became NaN or infinite, ten steps in a row; where ``log_density`` is the reason, it
        says so, and where none of the first ten steps can be taken, at once.
    """
    params, fixed, merge = partition(as_initialised(model))
    if optimizer is None:
        optimizer = default_optimizer(learning_rate=learning_rate, steps=steps, clip_norm=10.0)
    state = init_state(params, fixed, optimizer)
    loss = reverse_kl(log_density, num_samples=num_samples)
    step = make_train_step(loss, merge, optimizer, key=seed, ema_decay=ema_decay)
    first_term = make_diagnosis(loss, merge, key=seed)

    @jax.jit
    def look(params: Arrays, fixed: Arrays, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        key = jax.random.fold_in(seed, number)  # that of the step
        model: Any = merge(params, fixed)
        x, _ = model.sample_and_log_prob(seed=key, sample_shape=(num_samples,))
        return x, jax.vmap(log_density)(x)

    def refused(state: TrainState, number: int) -> str | None:
        """The fault of ``log_density`` at the samples of that step, in words."""
        x, log_densities = look(state.params, state.fixed, jnp.asarray(number, jnp.int32))
        return _refused(x, log_densities, number)

    def diagnose(state: TrainState, number: int) -> str:
        reason = refused(state, number)
        if reason is not None:
            raise FloatingPointError(reason)
        return first_term(state, number, {})

    begun = False

    def checked_step(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
        """The step; if the very first one fails, which changes nothing, see whether all that stop the run must."""
        nonlocal begun
        state, metrics = step(state, batch)
        if not begun and dict(fetch([metrics])[0].items())["skipped"][0] > 0:
            reasons = [refused(state, number) for number in range(Watch.max_skipped)]
            if None not in reasons:
                raise FloatingPointError(reasons[0])
        begun = True
        return state, metrics

    loop = Loop(
        train_step=checked_step,
        batches=lambda step: {},
        evaluation=Evaluation(),
        schedule=Schedule(steps, eval_every),
        log=MetricsLog(None),
        diagnose=diagnose,
        labels={"bound": "reverse KL up to log Z"},
        watch=Watch(progress=progress),
    )
    state, best, position = loop.run(state, jax.tree.map(jnp.copy, state.params), Progress())
    return FitResult(merge(best, state.fixed), loop.log.records, position.best_step, position.step)


def _refused(x: jax.Array, log_densities: jax.Array, step: int) -> str | None:
    """The fault in log-densities ``[n]`` of the finite samples in ``x`` of a step, in words; None if there is none."""
    sound = np.isfinite(np.asarray(x)).reshape(len(x), -1).all(1)
    values = np.where(sound, np.asarray(log_densities), 0.0)  # others are the fault of the model
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return None
    kinds = {"-inf": np.isneginf(values), "NaN": np.isnan(values), "inf": np.isposinf(values)}
    counts = " and ".join(f"{kind} at {mask.sum()}" for kind, mask in kinds.items() if mask.any())
    where = np.array2string(np.asarray(x[bad[0]]).ravel()[:4], separator=", ", precision=4)
    text = (
        f"fit_density: log_density is {counts} of {len(values)} samples of the model in step {step + 1}, the first of "
        f"them where x begins with {where}, so the divergence has no gradient there and the step changed nothing."
    )
    if kinds["-inf"].any():
        text += (
            " A density that is zero outside a region needs a model whose samples stay inside: let its first layer map "
            "onto the region, e.g. dgmjax.Elementwise(dgmjax.SigmoidTransformer(), shape) for (0, 1)^d; "
            "for another box write log_density as a function of (x - low) / (high - low)."
        )
    if kinds["NaN"].any() or kinds["inf"].any():
        text += " Make log_density finite wherever the model may sample (no log or square root of negative numbers)."
    return text
