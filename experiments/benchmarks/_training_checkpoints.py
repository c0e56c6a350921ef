"""Checkpoints: how long they hold training up, how long until they are written and read again."""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

import dgmjax as dgm
from dgmjax.training import Checkpoints, Parallel
from experiments.benchmarks._training_work import Part, Work, digits, timed

_ARRAYS = 12
_EVAL_EVERY = 100


def checkpoints(work: Work) -> Part:
    """One big checkpoint by itself, then the share of a run of ``realnvp_digits``, `_of_a_run`.

    Of 50 MB of arrays in float32: the stall, until `Checkpoints.save` returns and the next step may run; the time until
    the checkpoint is written, its manifest with the digests included; and `Checkpoints.restore`, which verifies it.
    """
    length = work.checkpoint_bytes // (4 * _ARRAYS)
    arrays = {
        f"w{index}": jnp.arange(length, dtype=jnp.float32) + index for index in range(_ARRAYS)
    }
    jax.block_until_ready(arrays)
    times: dict[str, list[float]] = {"stall of save": [], "until written": [], "restore": []}
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoints(pathlib.Path(folder))
        for step in range(work.checkpoints + 1):
            started = time.perf_counter()
            kept.save(step, arrays, {"step": step})
            returned = time.perf_counter()
            kept.wait()
            written = time.perf_counter()
            restored = kept.restore(arrays)
            assert restored is not None
            jax.block_until_ready(restored.arrays)
            clock = (returned - started, written - started, time.perf_counter() - written)
            for values, seconds in zip(times.values(), clock, strict=True):
                values.append(1e3 * seconds)
        kept.close()
    task = f"checkpoint of {work.checkpoint_bytes / 1e6:g} MB"
    notes = (
        "the caller is blocked",
        "from the call of save, manifest included",
        "digests verified",
    )
    rows = [
        timed(task, name, "ms", values[1:], note=note)  # the first sets Orbax up
        for (name, values), note in zip(times.items(), notes, strict=True)
    ]
    run = _of_a_run(work)
    return Part(rows + run.rows, run.facts)


def _of_a_run(work: Work) -> Part:
    """Time from log to log of a run of ``realnvp_digits`` with ``eval_every=100``: steps, evaluation, checkpoint.

    With a ``workdir`` and without, in alternation; and of those with, the time spent in
    `Checkpoints.save`, the wait for the one before included.
    """
    intervals: dict[bool, list[float]] = {True: [], False: []}
    stalls: list[float] = []
    save = Checkpoints.save

    def timed_save(self: Checkpoints, *args: Any) -> None:
        started = time.perf_counter()
        save(self, *args)
        stalls.append(time.perf_counter() - started)

    kept: list[float] = []
    for _ in range(work.checkpointed_runs):
        for written in (True, False):
            with (
                tempfile.TemporaryDirectory() as folder,
                mock.patch.object(Checkpoints, "save", timed_save),
            ):
                workdir = pathlib.Path(folder) / "run" if written else None
                stalls.clear()
                intervals[written] += _intervals(work, workdir)
                kept += stalls[1:]
    share = statistics.median(kept) / statistics.median(intervals[True])
    task = f"{_EVAL_EVERY} steps of realnvp_digits, evaluated"
    ratio = statistics.median(intervals[False]) / statistics.median(intervals[True])
    rows = [
        timed(task, "without checkpoints", "s", intervals[False], note="from log to log"),
        timed(
            task,
            "with checkpoints",
            "s",
            intervals[True],
            ratio=ratio,
            note="files are written by a thread that shares the cores; the ratio is that of time without to time with",
        ),
        timed(
            task,
            "blocked by save",
            "ms",
            [1e3 * value for value in kept],
            note=f"{share:.2%} of that time",
        ),
    ]
    return Part(rows, {"share_of_a_run": share})


def _intervals(work: Work, workdir: pathlib.Path | None) -> list[float]:
    case = digits(work)
    clock: list[float] = []
    on_record: Callable[[dict[str, Any]], None] = lambda record: (  # noqa: E731
        clock.append(time.perf_counter()) if record["split"] == "train" else None
    )
    dgm.fit(
        case.model,
        case.x,
        seed=jax.random.key(0),
        validation=case.x[:200],
        steps=_EVAL_EVERY * (work.checkpointed_windows + 2),
        eval_every=_EVAL_EVERY,
        batch_size=case.batch_size,
        optimizer=case.optimizer,
        init_rows=0,
        execution=dgm.Execution(parallel=Parallel(num_devices=1)),
        workdir=workdir,
        watch=dgm.Watch(on_record=on_record, progress=False),
    )
    return [later - earlier for earlier, later in zip(clock[1:-1], clock[2:], strict=True)]
