"""``dgmjax.fit``: train a density model on an array by one call."""

import contextlib
import pathlib
from collections.abc import Mapping
from typing import TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgmjax.data.stream import Records
from dgmjax.layers.serialization.recorded import plain
from dgmjax.objectives.likelihood import bound_of
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood
from dgmjax.training.arrays import num_rows, prepare_data
from dgmjax.training.distributed import check_same, is_first
from dgmjax.training.gradient import Loss
from dgmjax.training.identity import describe_call, identity_of
from dgmjax.training.inputs import Transform, on_data
from dgmjax.training.lock import one_run_at_a_time
from dgmjax.training.metrics import MetricsLog
from dgmjax.training.optimizer import default_optimizer
from dgmjax.training.options import Execution, Watch, check_options
from dgmjax.training.resume import claim_directory, restore
from dgmjax.training.round_trip import warn_of_lost_rows
from dgmjax.training.run import make_evaluation, make_loop, run_to_end
from dgmjax.training.run_state import FitResult
from dgmjax.training.schedule import Schedule
from dgmjax.training.setup import prepare
from dgmjax.training.step import Optimizer
from dgmjax.training.weights import prepare_weights, with_weights

Model = TypeVar("Model")


@one_run_at_a_time
def fit(
    model: Model,
    x: ArrayLike | Records,
    *,
    seed: jax.Array,
    context: ArrayLike | None = None,
    validation: ArrayLike | Records | None = None,
    validation_context: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    validation_weights: ArrayLike | None = None,
    steps: int = 2_000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    augment: Transform | None = None,
    workdir: str | pathlib.Path | None = None,
    continue_from: str | pathlib.Path | FitResult | None = None,
    loss: Loss | Mapping[str, Loss] = maximum_likelihood,
    validation_loss: Loss = negative_log_likelihood,
    monitor: str = "nats",
    optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
    ema_decay: float = 0.99,
    eval_every: int = 100,
    transform: Transform | None = None,
    init_rows: int | None = None,
    execution: Execution | None = None,
    watch: Watch | None = None,
) -> FitResult[Model]:
    """Fit ``model`` to the events ``x`` by stochastic gradient descent on ``loss``.

    The arguments up to ``workdir`` are enough to begin with; the others are for other losses and optimizers, and
    ``execution`` and ``watch`` for how steps are run and what is told of them.

    With ``workdir`` the run writes ``fit.json``, ``metrics.jsonl`` and ``checkpoints/`` there, and the same call again
    continues where it stopped, with the same result to the last bit as an uninterrupted run. More ``steps``, another
    rate, ``batch_size``, ``ema_decay``, ``eval_every``, ``patience`` or ``augment`` make the run longer or go on from
    its last checkpoint, and are dated in ``fit.json`` and ``metrics.jsonl``. Another model, seed, data (by their
    SHA-256) or kind of optimizer state is refused. Losses are not compared. ``execution`` and ``watch`` may change;
    another execution changes the order of sums.

    Where several processes take part (`dgmjax.training.initialize`), all make the same call and get the same model;
    each reads its rows of every batch, and the first writes logs. ``workdir`` is then a directory they share.

    Args:
      model: flow, `dgmjax.Dequantized`, or any module that ``loss`` understands; not changed.
      x: ``[n, *event]``; floats, or integers for a `dgmjax.Dequantized` model. Or records that are read as they are
        needed, such as `dgmjax.data.ImageRecords`, which bring their own context.
      seed: typed key; batches, noise and dropout follow from it and the step.
      context: ``[n, *context]`` for a conditional model, or classes, integers ``[n]``, given to it as one-hot.
      validation: held-out events or records; selects the returned weights and drives ``patience``.
      validation_context: their context.
      weights: ``[n]``, zero or more each, of the rows of ``x``; only their ratios count. A row is in a batch as often
        as its weight says (`dgmjax.data.Order`), so the fit is that to resampled rows, whatever the loss.
      validation_weights: the same of the rows of ``validation``, whose metrics are weighted means.
      steps: optimizer steps; of a run that goes on, all of them, those before included.
      batch_size: rows a step, over all devices and processes.
      learning_rate: peak of the default optimizer: Adam, gradient norm clipped at 1, cosine decay to 0.
      patience: evaluations without improvement before stopping; needs ``validation``.
      augment: ``augment(x, keys) -> x``, applied to training batches inside the step; ``keys`` has one key a row,
        so that a row meets the same noise on any number of devices (``jax.vmap`` over both). The result has the shape,
        the dtype and the levels of ``x``.
      workdir: run directory.
      continue_from: directory of another run, or what `fit` returned, with the same model, data and kind of optimizer:
        go on where that one ended, up to ``steps``. With a ``workdir`` that holds a checkpoint already, that one
        counts. To start from weights alone, pass the trained model.
      loss: ``loss(model, batch, key) -> (scalar, metrics)`` for training, or losses by the name of the part of the
        model that each trains, in turn, see `dgmjax.training.make_train_step`.
      validation_loss: the same for validation.
      monitor: its metric that selects the weights, the smaller the better.
      optimizer: an optax transformation to use instead of the default; one for each loss by name, if there are several.
      ema_decay: decay of the averaged weights that are evaluated and returned; 0 for the weights themselves.
      eval_every: steps between logs, evaluations and checkpoints.
      transform: ``transform(x, keys) -> x`` makes of rows of ``x`` what the model is a model of, in training (after
        ``augment``), in validation and for the data-dependent layers: another shape, other levels, e.g.
        ``dgmjax.data.ImageTransform(binarize=True)``.
      init_rows: from how many rows, chosen at random but always the same, data-dependent layers (standardisation,
        histograms) are set first, those that have never been set or trained; `dgmjax.layers.forget_data_init` has them
        set anew. Default all, of records and memory-mapped arrays 4,096; 0 leaves all layers as they are.
      execution: devices, accumulation, several steps a call, readers of records.
      watch: progress bar, callbacks, numbers that are not finite, profiler.

    Raises:
      TypeError, ValueError: data that do not fit the model (see `dgmjax.data.check_data`), a work directory of
        another run, or impossible settings.
      FloatingPointError: ``watch.max_skipped`` steps in a row gave numbers that are not finite; it names the first
        such term.
      OSError: a checkpoint could not be written; the one before is intact.
      RuntimeError: all checkpoints are damaged, another run is at work in ``workdir``, or another process has ended.
      PreemptedError: SIGTERM came, with a ``workdir``; a checkpoint is written first.
    """
    execution, watch = execution or Execution(), watch or Watch()
    numbers = (steps, batch_size, learning_rate, ema_decay, eval_every, patience, init_rows)
    steps, batch_size, learning_rate, ema_decay, eval_every, patience, init_rows = map(
        plain, numbers
    )
    check_options(
        seed=seed,
        ema_decay=ema_decay,
        init_rows=init_rows,
        needs_validation=(patience is not None or validation_weights is not None)
        and validation is None,
        execution=execution,
        watch=watch,
    )
    steps_per_call = 1 if watch.debug_nans else execution.steps_per_call
    schedule = Schedule(steps, eval_every, patience, steps_per_call)
    train = prepare_data(model, x, context, "x", transform)
    prepared_weights = prepare_weights(weights, num_rows(train), "fit: weights")
    held_out = None
    if validation is not None:
        held_out = prepare_data(model, validation, validation_context, "validation", transform)
        held_out = with_weights(held_out, validation_weights, "fit: validation_weights")
    if validation_weights is not None and validation_loss is not negative_log_likelihood:
        raise ValueError(
            "fit: validation_weights are for the default validation_loss; resample the rows for another."
        )
    if optimizer is None:
        optimizer = default_optimizer(learning_rate=learning_rate, steps=steps, clip_norm=1.0)
        if isinstance(loss, Mapping):
            optimizer = dict.fromkeys(loss, optimizer)
    prepared, state = prepare(
        model,
        train,
        optimizer,
        weights=prepared_weights,
        seed=seed,
        batch_size=batch_size,
        init_rows=init_rows,
        transform=transform,
        steps_per_call=steps_per_call,
        execution=execution,
    )
    with contextlib.closing(prepared.source):
        settings = describe_call(
            model,
            {
                "x": train,
                "validation": held_out,
                "weights": None if prepared_weights is None else {"weights": prepared_weights},
            },
            state.opt_state,
            seed,
            # All of the data, for their digests.
            read=workdir is not None or jax.process_count() > 1,
            steps=steps,
            batch_size=prepared.batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            eval_every=eval_every,
            patience=patience,
            data_init=init_rows != 0,
            init_rows=init_rows or None,
            augment=identity_of(augment),
            transform=identity_of(transform),
            monitor=None if monitor == "nats" else monitor,
            settings=None if watch.settings is None else dict(watch.settings),
        )
        check_same(settings)
        folder = None if workdir is None else pathlib.Path(workdir)
        log = MetricsLog(None, watch.on_record if is_first() else None)
        checkpoints = claim_directory(folder, settings)
        run = restore(
            prepared.start(state, settings),
            schedule,
            log,
            workdir=folder,
            checkpoints=checkpoints,
            continue_from=continue_from,
        )
        del state  # lies on the devices by now
        if watch.on_start is not None:
            watch.on_start(run.progress.step)
        validation_loss = on_data(validation_loss, transform)
        loss = on_data(loss, transform, augment)
        loop = make_loop(
            prepared,
            loss,
            make_evaluation(prepared, validation_loss, held_out, monitor=monitor),
            schedule,
            log,
            checkpoints=checkpoints,
            watch=watch,
            ema_decay=ema_decay,
            accumulate=execution.accumulate,
            labels={"bound": str(bound_of(model))},
        )
        run = run_to_end(loop, run)
    trained = prepared.model(run)
    if watch.check_round_trip:
        rows = prepared.batch_size
        warn_of_lost_rows(trained, train, prepared.eval_key, most=rows, transform=transform)
    alone = jax.process_count() == 1
    kept = run._replace(state=jax.tree.map(np.asarray, run.state), best={}) if alone else None
    return FitResult(trained, log.records, run.progress.best_step, run.progress.step, kept)
