"""``dgmjax.fit``: train a density model on an array by one call."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgmjax.data.stream import Records
from dgmjax.layers.serialization import plain
from dgmjax.nets.data_init import as_initialised
from dgmjax.objectives.likelihood import bound_of
from dgmjax.objectives.maximum_likelihood import maximum_likelihood, negative_log_likelihood
from dgmjax.training.arrays import num_rows, prepare_data, some_rows
from dgmjax.training.distributed import check_same, is_first, is_loss_of_another
from dgmjax.training.evaluation import make_evaluator
from dgmjax.training.gradient import Loss
from dgmjax.training.identity import describe_call, name_of
from dgmjax.training.inputs import Transform, on_data, with_data_init
from dgmjax.training.lock import one_run_at_a_time
from dgmjax.training.loop import Loop
from dgmjax.training.metrics import MetricsLog, Record
from dgmjax.training.optimizer import default_optimizer
from dgmjax.training.options import check_options
from dgmjax.training.parallel import Parallel
from dgmjax.training.partition import partition, statistics_of
from dgmjax.training.resume import begin
from dgmjax.training.round_trip import warn_of_lost_rows
from dgmjax.training.run_state import FitResult, RunState
from dgmjax.training.schedule import Progress, Schedule
from dgmjax.training.source import Source
from dgmjax.training.step import (
    Optimizer,
    averaged_params,
    init_state,
    make_eval_step,
    make_train_step,
)
from dgmjax.training.watch.diagnosis import make_diagnosis
from dgmjax.training.watch.profile import Profile
from dgmjax.training.watch.program import Program

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
    steps: int = 2_000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
    ema_decay: float = 0.99,
    eval_every: int = 100,
    patience: int | None = None,
    data_init: bool = True,
    init_rows: int | None = None,
    augment: Transform | None = None,
    transform: Transform | None = None,
    loss: Loss | Mapping[str, Loss] = maximum_likelihood,
    validation_loss: Loss = negative_log_likelihood,
    monitor: str = "nats",
    parallel: Parallel | None = None,
    accumulate: int = 1,
    steps_per_call: int = 1,
    on_device: bool | None = None,
    workers: int = 0,
    max_skipped: int = 10,
    debug_nans: bool = False,
    check_round_trip: bool = True,
    profile: str | pathlib.Path | None = None,
    workdir: str | pathlib.Path | None = None,
    continue_from: str | pathlib.Path | FitResult | None = None,
    settings: Mapping[str, Any] | None = None,
    on_start: Callable[[int], None] | None = None,
    on_evaluation: Callable[[int, Model], None] | None = None,
    on_record: Callable[[Record], None] | None = None,
    on_compile: Callable[[Program], None] | None = None,
    progress: bool | None = None,
) -> FitResult[Model]:
    """Fit ``model`` to the events ``x`` by stochastic gradient descent on ``loss``.

    With ``workdir`` the run writes ``fit.json``, ``metrics.jsonl`` and ``checkpoints/`` there, and the same call again
    continues where it stopped, with the same result to the last bit as an uninterrupted run. More ``steps``, another
    rate, ``batch_size``, ``ema_decay``, ``eval_every``, ``patience`` or ``augment`` make the run longer or go on from
    its last checkpoint, and are dated in ``fit.json`` and ``metrics.jsonl``. Another model, seed, data (by their
    SHA-256) or kind of optimizer state is refused. Losses are not compared. How steps are run may change
    (``parallel``, ``accumulate``, ``steps_per_call``, ``on_device``, ``debug_nans``); that changes the order of sums.

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
      steps: optimizer steps; of a run that goes on, all of them, those before included.
      batch_size: rows a step, over all devices and processes.
      learning_rate: peak of the default optimizer: Adam, gradient norm clipped at 1, cosine decay to 0.
      optimizer: an optax transformation to use instead; one for each loss by name, if there are several.
      ema_decay: decay of the averaged weights that are evaluated and returned; 0 for the weights themselves.
      eval_every: steps between logs, evaluations and checkpoints.
      patience: evaluations without improvement before stopping; needs ``validation``.
      data_init: set data-dependent layers (standardisation, histograms) from ``x`` first, those that have never been
        set or trained; `dgmjax.layers.forget_data_init` has them set anew. False leaves all as they are.
      init_rows: from how many rows, chosen at random but always the same; default all, of records and memory-mapped
        arrays 4,096.
      augment: ``augment(x, keys) -> x``, applied to training batches inside the step; ``keys`` has one key a row,
        so that a row meets the same noise on any number of devices (``jax.vmap`` over both). The result has the shape,
        the dtype and the levels of ``x``.
      transform: ``transform(x, keys) -> x`` makes of rows of ``x`` what the model is a model of, in training (after
        ``augment``), in validation and for the data-dependent layers: another shape, other levels, e.g.
        ``dgmjax.data.ImageTransform(binarize=True)``.
      loss: ``loss(model, batch, key) -> (scalar, metrics)`` for training, or losses by the name of the part of the
        model that each trains, in turn, see `dgmjax.training.make_train_step`.
      validation_loss: the same for validation.
      monitor: its metric that selects the weights, the smaller the better.
      parallel: how to spread a step over devices; default as many of them as divide the batch. It changes neither the
        result, up to the order of sums, nor what a checkpoint holds: a run may continue on other devices.
      accumulate: cut batches into so many parts, taken one after the other, and average their gradients: the same step
        in the activation memory of a part.
      steps_per_call: steps that one program takes, for small models, whose step costs less than its dispatch; divides
        ``steps`` and ``eval_every``.
      on_device: keep arrays on every device, and send row numbers only; default: on accelerators, up to 1 GB.
      workers: processes that read and decode records; 0 for threads. With workers the calling script needs
        ``if __name__ == "__main__":``.
      max_skipped: a step whose loss or gradient is not finite changes nothing and is counted as ``skipped_steps`` in
        the history; if so many come in a row, the run stops when it logs next.
      debug_nans: stop at the first such step, and find operation, layer and line of the first bad number; slow.
      check_round_trip: warn if training rows of a flow do not come back, see `dgmjax.training.RoundTripWarning`.
      profile: directory for a trace of steps 11 to 20, for the profiler.
      workdir: run directory.
      continue_from: directory of another run, or what `fit` returned, with the same model, data and kind of optimizer:
        go on where that one ended, up to ``steps``. With a ``workdir`` that holds a checkpoint already, that one
        counts. To start from weights alone, pass the trained model.
      settings: more to write into ``fit.json``, e.g. what ``optimizer`` was made of; may change as the rate may.
      on_start: called as ``on_start(step)`` when all is checked, before the first step.
      on_evaluation: called as ``on_evaluation(step, model)`` every ``eval_every`` steps, after the validation if any.
      on_record: called with every record of the history as it is written.
      on_compile: called with the compiled step, which knows its operations and memory, before it runs.
      progress: show a progress bar; default: if standard error is a terminal.

    Raises:
      TypeError, ValueError: data that do not fit the model (see `dgmjax.data.check_data`), a work directory of
        another run, or impossible settings.
      FloatingPointError: ``max_skipped`` steps in a row gave numbers that are not finite; it names the first such term.
      OSError: a checkpoint could not be written; the one before is intact.
      RuntimeError: all checkpoints are damaged, another run is at work in ``workdir``, or another process has ended.
      PreemptedError: SIGTERM came, with a ``workdir``; a checkpoint is written first.
    """
    numbers = (steps, batch_size, learning_rate, ema_decay, eval_every, patience, init_rows)
    steps, batch_size, learning_rate, ema_decay, eval_every, patience, init_rows = map(
        plain, numbers
    )
    steps_per_call, max_skipped, accumulate = map(plain, (steps_per_call, max_skipped, accumulate))
    schedule = Schedule(steps, eval_every, patience, 1 if debug_nans else steps_per_call)
    check_options(
        seed=seed,
        ema_decay=ema_decay,
        max_skipped=max_skipped,
        accumulate=accumulate,
        debug_nans=debug_nans,
        needs_validation=patience is not None and validation is None,
    )
    train = prepare_data(model, x, context, "x", transform)
    held_out = None
    if validation is not None:
        held_out = prepare_data(model, validation, validation_context, "validation", transform)
    data_key, init_key, train_key, eval_key = jax.random.split(seed, 4)
    initial = model
    if data_init:
        initial = with_data_init(model, some_rows(train, init_rows), init_key, transform=transform)
    initial = as_initialised(initial)
    params, fixed, merge = partition(initial)
    if optimizer is None:
        optimizer = default_optimizer(learning_rate=learning_rate, steps=steps, clip_norm=1.0)
        if isinstance(loss, Mapping):
            optimizer = dict.fromkeys(loss, optimizer)
    statistics = tuple(statistics_of(initial))
    state = init_state(params, fixed, optimizer)
    batch_size = min(batch_size, num_rows(train))
    parallel = Parallel.for_batch(batch_size, accumulate) if parallel is None else parallel
    parallel.check_batch_size(batch_size, accumulate)
    source = Source(
        train,
        batch_size,
        seed=int(jax.random.bits(data_key)),
        parallel=parallel,
        steps_per_call=schedule.steps_per_call,
        on_device=on_device,
        workers=workers,
    )

    read = workdir is not None or jax.process_count() > 1  # all of the data, for their digests
    call = describe_call(
        model,
        {"x": train, "validation": held_out},
        state.opt_state,
        seed,
        read=read,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        ema_decay=ema_decay,
        eval_every=eval_every,
        patience=patience,
        data_init=data_init,
        init_rows=init_rows,
        augment=name_of(augment),
        transform=name_of(transform),
        monitor=None if monitor == "nats" else monitor,
        settings=None if settings is None else dict(settings),
    )
    check_same(call)
    # Copies: the first step donates the state.
    evaluated = functools.partial(averaged_params, statistics=statistics)
    best = evaluated(state)
    state, best = parallel.place_state(state), parallel.place_state(best)
    log = MetricsLog(None, on_record if is_first() else None)
    (state, best, position, call), checkpoints = begin(
        RunState(state, best, Progress(), call),
        schedule,
        log,
        workdir=None if workdir is None else pathlib.Path(workdir),
        continue_from=continue_from,
    )
    if on_start is not None:
        on_start(position.step)

    validation_loss = on_data(validation_loss, transform)
    loss = on_data(loss, transform, augment)
    diagnosis = make_diagnosis(loss, merge, key=train_key, operation=debug_nans)
    step = make_train_step(
        loss,
        merge,
        optimizer,
        key=train_key,
        ema_decay=ema_decay,
        parallel=parallel,
        accumulate=accumulate,
        steps_per_call=schedule.steps_per_call,
    )
    program = Program(step, steps_per_call=schedule.steps_per_call, on_compile=on_compile)
    loop = Loop(
        train_step=program,
        batches=source,
        evaluated=evaluated,
        evaluate=None
        if held_out is None
        else make_evaluator(make_eval_step(validation_loss, merge), held_out, eval_key, parallel),
        schedule=schedule,
        monitor=monitor,
        log=log,
        checkpoints=checkpoints,
        diagnose=lambda state, step: diagnosis(state, step, source.single(step)),
        max_skipped=1 if debug_nans else max_skipped,
        debug=debug_nans,
        labels={"bound": str(bound_of(model))},
        on_evaluation=None
        if on_evaluation is None
        else lambda step, params: on_evaluation(step, merge(parallel.gather(params), fixed)),
        show_progress=progress,
        rates=lambda steps_per_second: program.rates(steps_per_second, parallel.devices),
        profile=Profile(None if profile is None else pathlib.Path(profile)),
    )
    try:
        state, best, position = loop.run(state, best, position)
    except BaseException as error:
        if checkpoints is not None:
            checkpoints.abandon(error)
        if jax.process_count() > 1 and is_loss_of_another(error):
            raise RuntimeError(
                f"process {jax.process_index()} of {jax.process_count()} lost another one after step {position.step} "
                f"({str(error).splitlines()[0]}). Start all of them again; with a workdir the run continues from its "
                f"last checkpoint."
            ) from error
        raise
    finally:
        source.close()
    if checkpoints is not None:
        checkpoints.close()
    trained = merge(parallel.gather(best), parallel.gather(state.fixed))
    if check_round_trip:
        warn_of_lost_rows(trained, train, eval_key, most=batch_size, transform=transform)
    alone = jax.process_count() == 1
    run = RunState(jax.tree.map(np.asarray, state), {}, position, call) if alone else None
    return FitResult(trained, log.records, position.best_step, position.step, run)
