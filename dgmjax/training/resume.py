"""How a run goes on: from its own checkpoint, from another run, or from the result of an earlier call."""

import dataclasses
import functools
import math
import pathlib
from typing import Any

import jax
import numpy as np

from dgmjax.training.checkpoint import Checkpoints
from dgmjax.training.distributed import agree, is_first
from dgmjax.training.identity import UNREAD
from dgmjax.training.metrics import MetricsLog, Record, read_records
from dgmjax.training.partition import partition
from dgmjax.training.run_state import FitResult, RunState
from dgmjax.training.schedule import Progress, Schedule
from dgmjax.training.workdir import (
    Changes,
    Settings,
    check_same_run,
    claim,
    differences,
    read_settings,
    record_changes,
)

FILE = "fit.json"
# The rest says which run it is: model, data, seed, the kind of optimizer state.
MAY_CHANGE = (
    "steps", "batch_size", "learning_rate", "ema_decay", "eval_every", "patience", "monitor", "data_init", "init_rows",
    "augment", "settings",
)  # fmt: skip
# Another run that goes on from this one may also have these of its own.
MAY_DIFFER = (*MAY_CHANGE, "seed")
_DATA = ("x", "validation")


def claim_directory(workdir: pathlib.Path | None, settings: Settings) -> Checkpoints | None:
    """The checkpoints in ``workdir``, which belongs to the run of these settings from here on; None for no directory.

    Raises:
      ValueError: it belongs to another run.
    """
    if workdir is None:
        return None
    agree(lambda: claim(workdir, settings, may_change=MAY_CHANGE, **_of_file(settings)))
    return Checkpoints(workdir / "checkpoints")


def restore(
    run: RunState,
    schedule: Schedule,
    log: MetricsLog,
    *,
    workdir: pathlib.Path | None,
    checkpoints: Checkpoints | None,
    continue_from: Any,
) -> RunState:
    """The run as it goes on: from its own checkpoint, else from ``continue_from``, else from ``run`` itself.

    Settings that it goes on with, and did not come with, are written into ``fit.json`` and the log.

    Raises:
      ValueError: nothing is left to train, or what it goes on from is another run.
    """
    found, records, origin = None, None, None
    before = here = run.settings
    if workdir is not None and checkpoints is not None:
        found = at_checkpoint(checkpoints, run)
        if found is not None:
            then = found.progress.step
            before = agree(lambda: read_settings(workdir, step=then, **_of_file(here)))
    if found is None and continue_from is not None:
        of_path = isinstance(continue_from, str | pathlib.Path)
        take = from_run if of_path else from_result
        found, records = take(continue_from, run)
        before = found.settings
        origin = (str(continue_from) if of_path else "a result", before)
    step, changes = 0 if found is None else found.progress.step, differences(before, here)
    schedule.check_start(step)
    if step == schedule.steps and (changes or origin):
        otherwise = f" with another {', '.join(changes)}" if changes else ""
        raise ValueError(
            f"the run has taken its {step} steps, and nothing is left to train{otherwise}; give steps=..., as many as "
            f"it is to have in the end, or use another work directory."
        )
    if workdir is not None:
        agree(lambda: record_changes(workdir, here, step=step, origin=origin, **_of_file(here)))
        log.path = workdir / "metrics.jsonl" if is_first() else None
    log.records = agree(lambda: log.rewind(step, records))
    if changes:
        log.write({"step": step, "split": "settings", "changed": changes})
    if found is not None:
        run = adopt(found, changes, schedule, anew=origin is not None and found.progress.finished)
    return run._replace(settings=here)


def _of_file(settings: Settings) -> dict[str, Any]:
    return {"file": FILE, "complete": functools.partial(completed, here=settings)}


def completed(there: Settings, here: Settings) -> Settings:
    """Settings of ``fit.json`` with those that were not given.

    Raises:
      ValueError: of version 0.1, whose checkpoints keep averages of the weights in another form.
    """
    if "optimizer_state" in there:
        raise ValueError(
            "the run is one of dgmjax 0.1, whose averages of the weights cannot be continued; use another work "
            "directory, and start there from its weights by dgmjax.training.transfer(model, run)."
        )
    return {name: here.get(name) for name in ("optimizer", "settings")} | there


def at_checkpoint(checkpoints: Checkpoints, like: RunState) -> RunState | None:
    """``like`` at the newest sound checkpoint, or None if there is none.

    Raises:
      ValueError: the checkpoint holds other arrays.
    """
    try:
        found = checkpoints.restore({"state": like.state, "best": like.best})
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{checkpoints.directory} holds the arrays of another model or optimizer, or of a version of this library "
            f"that kept others: {' '.join(str(error).split())[:300]} ... Use another work directory; "
            f"dgmjax.training.transfer takes what weights fit from the saved model of a run."
        ) from error
    if found is None:
        return None
    return like._replace(
        state=found.arrays["state"],
        best=found.arrays["best"],
        progress=Progress(**found.progress),
    )


def from_run(run: str | pathlib.Path, like: RunState) -> tuple[RunState, list[Record]]:
    """The last checkpoint of another run, with its settings, and its records up to there.

    Raises:
      FileNotFoundError: no run, or one without a checkpoint.
      ValueError: of another model, other data or another kind of optimizer state.
    """
    folder = pathlib.Path(run)
    there = _known(agree(lambda: read_settings(folder, file=FILE)), like.settings)
    check_same_run(there, like.settings, may_change=MAY_DIFFER, where=f"continue_from: {folder}")
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        found = at_checkpoint(checkpoints, like)
    finally:
        checkpoints.close()
    if found is None:
        raise FileNotFoundError(f"continue_from: {folder} has no checkpoint to continue from.")
    step = found.progress.step
    settings = agree(lambda: read_settings(folder, file=FILE, step=step))
    records = agree(lambda: read_records(folder / "metrics.jsonl", step))
    return found._replace(settings=_known(settings, like.settings)), records


def from_result(result: Any, like: RunState) -> tuple[RunState, list[Record]]:
    """Where an earlier `dgmjax.fit` ended.

    Raises:
      TypeError: ``result`` is no such result.
      ValueError: of another model, other data or another kind of optimizer state.
    """
    if not isinstance(result, FitResult) or result.run is None:
        given = type(result).__name__
        if isinstance(result, FitResult):
            given += " without a state, of fit_density or of several processes, which go on from their directory"
        raise TypeError(
            f"continue_from: expected a run directory or the result of dgmjax.fit, got {given}."
        )
    run = result.run
    there = _known(run.settings, like.settings)
    check_same_run(there, like.settings, may_change=MAY_DIFFER, where="continue_from: the result")
    params, fixed, _ = partition(result.model)
    best = {name: array for name, array in (params | fixed).items() if name in like.best}
    theirs_by_name = _named((run.state, best))
    for name, ours in _named((like.state, like.best)).items():
        theirs = theirs_by_name.get(name)
        if theirs is None or theirs.shape != ours.shape:
            raise ValueError(
                f"continue_from: the result is of another model or optimizer: {name} is "
                f"{None if theirs is None else theirs.shape} there and {ours.shape} here."
            )
    # Copies: the first step donates the state, which may lie in the memory of the result.
    state = jax.tree.map(
        lambda ours, leaf: jax.device_put(np.array(leaf), ours.sharding), like.state, run.state
    )
    return RunState(state, best, dataclasses.replace(run.progress), there), list(result.history)


def adopt(run: RunState, changes: Changes, schedule: Schedule, *, anew: bool) -> RunState:
    """The run with the settings it goes on with; without changes, and not ``anew``, exactly as it was.

    With changes it counts evaluations without a better one from here on, and takes steps up to those of the schedule
    even if patience had run out. Another ``ema_decay`` goes on from the same averaged weights.
    """
    if not changes and not anew:
        return run
    progress = dataclasses.replace(run.progress, stale=0)
    progress.finished = progress.step >= schedule.steps
    if "monitor" in changes:
        progress.best_value = math.inf
    return run._replace(progress=progress)


def _known(there: Settings, here: Settings) -> Settings:
    """``there`` with what it cannot know as it is here: the optimizer of an older version, data not read."""
    unknown = [name for name in _DATA if UNREAD in (there.get(name), here.get(name))]
    return completed(there, here) | {name: here.get(name) for name in unknown}


def _named(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
