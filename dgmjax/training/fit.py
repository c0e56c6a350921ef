"""``dgmjax.fit``: train a density model on an array by one call."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from dgmjax.data.batches import Batches
from dgmjax.layers.constructor import describe
from dgmjax.numerics import random
from dgmjax.objectives.likelihood import bound_of
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood
from dgmjax.training.arrays import digest, make_evaluator, prepare
from dgmjax.training.checkpoint import Checkpoints
from dgmjax.training.loop import Loop, Progress, Schedule
from dgmjax.training.metrics import MetricsLog, Record
from dgmjax.training.optimizer import default_optimizer
from dgmjax.training.parallel import Parallel
from dgmjax.training.partition import partition
from dgmjax.training.step import (
    Loss,
    averaged_params,
    init_state,
    make_diagnosis,
    make_eval_step,
    make_train_step,
)
from dgmjax.training.workdir import claim

Model = TypeVar("Model")


class FitResult(NamedTuple, Generic[Model]):
    """What `fit` returns.

    Attributes:
      model: the trained model: the best on validation if there was one, the last otherwise; averaged weights.
      history: records as in ``metrics.jsonl``: ``step``, ``split``, ``nats``, ``bits_per_dim``, ``bound``, norms.
      best_step: the step ``model`` is from.
      steps: steps taken; fewer than asked for if patience ran out.
    """

    model: Model
    history: list[Record]
    best_step: int
    steps: int


def fit(
    model: Model,
    x: ArrayLike,
    *,
    seed: jax.Array,
    context: ArrayLike | None = None,
    validation: ArrayLike | None = None,
    validation_context: ArrayLike | None = None,
    steps: int = 2_000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    optimizer: optax.GradientTransformation | None = None,
    ema_decay: float = 0.99,
    eval_every: int = 100,
    patience: int | None = None,
    data_init: bool = True,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    loss: Loss = maximum_likelihood,
    validation_loss: Loss = negative_log_likelihood,
    parallel: Parallel | None = None,
    max_skipped: int = 10,
    workdir: str | pathlib.Path | None = None,
    on_evaluation: Callable[[int, Model], None] | None = None,
    on_record: Callable[[Record], None] | None = None,
    progress: bool | None = None,
) -> FitResult[Model]:
    """Fit ``model`` to the events ``x`` by stochastic gradient descent on ``loss``.

    With ``workdir`` the run writes ``fit.json``, ``metrics.jsonl`` and ``checkpoints/`` there, and the same call again
    continues where it stopped, with the same result to the last bit as an uninterrupted run. ``fit.json`` describes the
    call (model, data by their SHA-256, steps, first optimizer state, ...); a call that differs in what it
    holds is refused. Losses and the schedule inside a custom optimizer are not compared.

    Args:
      model: flow, `dgmjax.Dequantized`, or any module that ``loss`` understands; not changed.
      x: ``[n, *event]``; floats, or integers for a `dgmjax.Dequantized` model.
      seed: typed key; batches, noise and dropout follow from it and the step.
      context: ``[n, *context]`` for a conditional model.
      validation: held-out events; selects the returned weights and drives ``patience``.
      validation_context: their context.
      steps: optimizer steps.
      batch_size: rows a step.
      learning_rate: peak of the default optimizer: Adam, gradient norm clipped at 1, cosine decay to 0.
      optimizer: an optax transformation to use instead.
      ema_decay: decay of the averaged weights that are evaluated and returned; 0 for the weights themselves.
      eval_every: steps between logs, evaluations and checkpoints.
      patience: evaluations without improvement before stopping; needs ``validation``.
      data_init: set data-dependent layers (standardisation, histograms) from ``x`` first; False to continue from a
        trained model as it is.
      augment: ``augment(x, keys) -> x``, applied to training batches inside the step; ``keys`` has one key a row,
        so that a row meets the same noise on any number of devices (``jax.vmap`` over both). The result has the shape,
        the dtype and the levels of ``x``.
      loss: ``loss(model, batch, key) -> (scalar, metrics)`` for training, see `dgmjax.training.make_train_step`.
      validation_loss: the same for validation; its metric ``nats`` is compared.
      parallel: how to spread a step over devices; default as many of them as divide the batch. It changes neither the
        result, up to the order of sums, nor what a checkpoint holds: a run may continue on other devices.
      max_skipped: a step whose loss or gradient is not finite changes nothing and is counted as ``skipped_steps`` in
        the history; if so many come in a row, the run stops when it logs next.
      workdir: run directory.
      on_evaluation: called as ``on_evaluation(step, model)`` after each validation.
      on_record: called with every record of the history as it is written.
      progress: show a progress bar; default: if standard error is a terminal.

    Raises:
      TypeError, ValueError: data that do not fit the model (see `dgmjax.data.check_data`), a work directory of
        another run, or impossible settings.
      FloatingPointError: ``max_skipped`` steps in a row gave numbers that are not finite; it names the first such term.
      RuntimeError: every checkpoint in ``workdir`` is damaged.
      PreemptedError: SIGTERM came, with a ``workdir``; a checkpoint is written first.
    """
    schedule = Schedule(steps, eval_every, patience)
    if not 0.0 <= ema_decay < 1.0:
        raise ValueError(f"fit: ema_decay must be in [0, 1), got {ema_decay}.")
    if not jnp.issubdtype(jnp.result_type(seed), jax.dtypes.prng_key):
        raise TypeError(f"fit: seed must be a typed key, jax.random.key(0), got {seed!r}.")
    if max_skipped < 1:
        raise ValueError(f"fit: max_skipped must be at least 1, got {max_skipped}.")
    if patience is not None and validation is None:
        raise ValueError("fit: patience counts evaluations on validation data; pass validation=...")
    train = prepare(model, x, context, "x")
    held_out = None
    if validation is not None:
        held_out = prepare(model, validation, validation_context, "validation")
    data_key, init_key, train_key, eval_key = jax.random.split(seed, 4)
    initial = _data_init(model, train, init_key) if data_init else model
    params, fixed, merge = partition(initial)
    if optimizer is None:
        optimizer = default_optimizer(learning_rate=learning_rate, steps=steps, clip_norm=1.0)
    state = init_state(params, fixed, optimizer)
    batches = Batches(train, batch_size, seed=int(jax.random.bits(data_key)))
    parallel = Parallel.for_batch(batches.batch_size) if parallel is None else parallel
    parallel.check_batch_size(batches.batch_size)

    log, checkpoints = MetricsLog(None, on_record), None
    # Copies: the first step donates the state.
    position, best = Progress(), jax.tree.map(jnp.copy, state.params)
    first_opt_state = digest(state.opt_state)
    state, best = parallel.place_state(state), parallel.place_state(best)
    if workdir is not None:
        folder = pathlib.Path(workdir)
        call = {
            "model": _description(model),
            "seed": np.asarray(jax.random.key_data(seed)).tolist(),
            "x": digest(train),
            "validation": None if held_out is None else digest(held_out),
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "optimizer_state": first_opt_state,
            "ema_decay": ema_decay,
            "eval_every": eval_every,
            "patience": patience,
            "data_init": data_init,
            "augment": _name(augment),
        }
        claim(folder, call, file="fit.json")
        log = MetricsLog(folder / "metrics.jsonl", on_record)
        checkpoints = Checkpoints(folder / "checkpoints")
        restored = checkpoints.restore({"state": state, "best": best})
        if restored is not None:
            state, best = restored.arrays["state"], restored.arrays["best"]
            position = Progress(**restored.progress)
        log.rewind(position.step)

    if augment is not None:
        loss = _augmented(loss, augment)
    diagnosis = make_diagnosis(loss, merge, key=train_key)
    loop = Loop(
        train_step=make_train_step(
            loss,
            merge,
            optimizer,
            key=train_key,
            ema_decay=ema_decay,
            parallel=parallel,
        ),
        batches=lambda step: parallel.place_batch(batches(step)),
        evaluated=functools.partial(averaged_params, ema_decay=ema_decay),
        evaluate=None
        if held_out is None
        else make_evaluator(make_eval_step(validation_loss, merge), held_out, eval_key),
        schedule=schedule,
        log=log,
        checkpoints=checkpoints,
        diagnose=lambda state, step: diagnosis(state, step, batches(step)),
        max_skipped=max_skipped,
        labels={"bound": str(bound_of(model))},
        on_evaluation=None
        if on_evaluation is None
        else lambda step, params: on_evaluation(step, merge(params, fixed)),
        show_progress=progress,
    )
    try:
        state, best, position = loop.run(state, best, position)
    finally:
        if checkpoints is not None:
            checkpoints.close()
    return FitResult(merge(best, state.fixed), log.records, position.best_step, position.step)


def _data_init(model: Any, train: dict[str, np.ndarray], key: jax.Array) -> Any:
    if not hasattr(model, "with_data_init"):
        return model
    x = jnp.asarray(train["x"])
    context = jnp.asarray(train["context"]) if "context" in train else None
    if bound_of(model).kind == "lower bound":
        return model.with_data_init(x, context, seed=key)
    return model.with_data_init(x, context)


def _augmented(loss: Loss, augment: Callable[[jax.Array, jax.Array], jax.Array]) -> Loss:
    def augmented(model: Any, batch: Any, key: jax.Array) -> Any:
        loss_key, augment_key = random.split(key)
        return loss(model, batch | {"x": augment(batch["x"], augment_key)}, loss_key)

    return augmented


def _description(model: Any) -> Any:
    try:
        return describe(model)
    except TypeError:
        return type(model).__name__


def _name(augment: Callable[..., Any] | None) -> str | None:
    """What tells one augmentation from another, in any process: the place of a function, the settings of an object."""
    if augment is None:
        return None
    if hasattr(augment, "__qualname__"):
        return f"{augment.__module__}.{augment.__qualname__}"
    return repr(augment)
