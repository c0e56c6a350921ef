"""A prepared run, taken to its end."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from dgmjax.training.arrays import Data
from dgmjax.training.checkpoint import Checkpoints
from dgmjax.training.distributed import is_loss_of_another
from dgmjax.training.evaluation import Evaluation, make_evaluator
from dgmjax.training.gradient import Loss
from dgmjax.training.loop import Loop
from dgmjax.training.metrics import MetricsLog
from dgmjax.training.options import Watch
from dgmjax.training.partition import Arrays
from dgmjax.training.run_state import RunState
from dgmjax.training.schedule import Schedule
from dgmjax.training.setup import Ready
from dgmjax.training.step import make_eval_step, make_train_step
from dgmjax.training.watch.diagnosis import make_diagnosis
from dgmjax.training.watch.program import Program


def make_evaluation(
    prepared: Ready, validation_loss: Loss, held_out: Data | None, *, monitor: str
) -> Evaluation:
    """Averaged weights, by ``validation_loss`` over ``held_out`` if there is any."""
    merge, parallel = prepared.merge, prepared.parallel
    measure: Callable[[Arrays, Arrays], dict[str, float]] | None = None
    if held_out is not None:
        eval_step = make_eval_step(validation_loss, merge)
        measure = make_evaluator(eval_step, held_out, prepared.eval_key, parallel)
    return Evaluation(
        params=prepared.evaluated,
        measure=measure,
        monitor=monitor,
        model=lambda params: merge(parallel.gather(params), prepared.fixed),
    )


def make_loop(
    prepared: Ready,
    loss: Loss | Mapping[str, Loss],
    evaluation: Evaluation,
    schedule: Schedule,
    log: MetricsLog,
    *,
    checkpoints: Checkpoints | None,
    watch: Watch,
    ema_decay: float,
    accumulate: int,
    labels: dict[str, Any],
) -> Loop:
    """The loop that trains by ``loss``."""
    merge, parallel, source = prepared.merge, prepared.parallel, prepared.source
    diagnosis = make_diagnosis(loss, merge, key=prepared.train_key, operation=watch.debug_nans)
    step = make_train_step(
        loss,
        merge,
        prepared.optimizer,
        key=prepared.train_key,
        ema_decay=ema_decay,
        parallel=parallel,
        accumulate=accumulate,
        steps_per_call=schedule.steps_per_call,
    )
    program = Program(step, steps_per_call=schedule.steps_per_call, on_compile=watch.on_compile)
    return Loop(
        train_step=program,
        batches=source,
        evaluation=evaluation,
        schedule=schedule,
        log=log,
        checkpoints=checkpoints,
        watch=watch,
        diagnose=lambda state, step: diagnosis(state, step, source.single(step)),
        labels=labels,
        rates=lambda steps_per_second: program.rates(steps_per_second, parallel.devices),
    )


def run_to_end(loop: Loop, run: RunState) -> RunState:
    """``run`` after the last step of ``loop``, whose checkpoints are closed then, also after an error.

    Raises:
      RuntimeError: another process has ended.
      OSError: the last checkpoint could not be written.
    """
    checkpoints = loop.checkpoints
    try:
        state, best, progress = loop.run(run.state, run.best, run.progress)
    except BaseException as error:
        if checkpoints is not None:
            checkpoints.abandon(error)
        if jax.process_count() > 1 and is_loss_of_another(error):
            raise RuntimeError(
                f"process {jax.process_index()} of {jax.process_count()} lost another one after step "
                f"{run.progress.step} ({str(error).splitlines()[0]}). Start all of them again; with a workdir the run "
                f"continues from its last checkpoint."
            ) from error
        raise
    if checkpoints is not None:
        checkpoints.close()
    return run._replace(state=state, best=best, progress=progress)
