"""The loop of `dgmjax.fit` against its own step called in a bare loop, and superbatches."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import dgmjax as dgm
from dgmjax.training import Parallel, Program, Source
from experiments.benchmarks._training_work import Case, Part, Work, digits, small, timed, turn

_PLACED = 6
_RUN, _FIT, _PROGRAM, _STEP, _BATCHES = (
    "dgmjax.fit, log to log",
    "dgmjax.fit, its steps", "its program in a bare loop", "jitted step in a bare loop", "its batches alone",
)  # fmt: skip
_NOTES = {
    _RUN: "wall time of a run from log to log over its steps, first window left out: everything, the log and the "
    "average of the weights as well; no validation, no checkpoints",
    _FIT: "the same without what follows the fetch of a log, what the run itself reports as steps a second",
    _PROGRAM: "the program that this run compiled, on batches that were placed on the device before",
    _STEP: "the function of make_train_step on the same batches; the ratio is that of log to log to it",
    _BATCHES: "Source(step) without a train step",
}


def overhead(work: Work) -> Part:
    """Python overhead a step of `dgmjax.fit`: time of its run minus that of the compiled step, with a tiny model.

    Every window of steps between two logs of one run is followed by a turn of as many bare steps; the row is the median
    of the differences between a window, with its log, and its turn.
    """
    times = beside_bare(small(), window=work.small_window, windows=work.windows)
    rows = _rows("overhead of the loop, small model", "us", times)
    differences = {name: times[_RUN] - times[name] for name in (_FIT, _PROGRAM, _STEP)}
    for name, values in differences.items():
        system = f"log to log minus {name}"
        note = "the overhead of a step: each window less its own turn" if name == _STEP else ""
        rows.append(timed(rows[0].task, system, "us", values, note=note))
    return Part(rows, {"overhead_us": float(np.median(differences[_STEP]))})


def step_time(work: Work) -> Part:
    """Step time of `dgmjax.fit` over that of the bare jitted step, with the model of ``realnvp_digits``.

    The same work in both, batches of 250 with dropout and dequantization; the difference is loop and input pipeline.
    The goal is a ratio of at most 1.05.
    """
    times = beside_bare(digits(work), window=work.digits_window, windows=work.windows)
    rows = _rows("step of realnvp_digits", "us", times)
    return Part(rows, {"fit_over_bare": _ratio(times, _STEP)})


def superbatch(work: Work) -> Part:
    """Steps a second of `dgmjax.fit` on the small model with several steps in one program, between two logs."""
    rates: dict[int, list[float]] = {several: [] for several in work.steps_per_call}
    for _ in range(work.superbatch_rounds):
        for several, values in rates.items():
            values += _steps_per_second(small(), work.small_window, work.windows, several)
    first = np.median(rates[work.steps_per_call[0]])
    rows = [
        timed(
            "superbatch, small model",
            f"steps_per_call={several}",
            "steps/s",
            values,
            ratio=None if index == 0 else float(np.median(values) / first),
            note="between two logs"
            if index == 0
            else "the ratio is the speed over that of one step a call",
        )
        for index, (several, values) in enumerate(rates.items())
    ]
    return Part(rows)


def beside_bare(case: Case, *, window: int, windows: int) -> dict[str, np.ndarray]:
    """Microseconds a step, ``[windows]``, of one run and of bare loops that have a turn after each of its windows."""
    parallel = Parallel(num_devices=1)
    source = Source({"x": case.x}, case.batch_size, seed=0, parallel=parallel)
    placed = [jax.device_put(source(step)) for step in range(_PLACED)]
    step, state = case.step(parallel)
    states: dict[str, Any] = {_STEP: state, _PROGRAM: case.step(parallel)[1]}
    programs: list[Program] = []
    times: dict[str, list[float]] = {name: [] for name in _NOTES}

    resumed = time.perf_counter()

    def bare(record: dict[str, Any]) -> None:
        if record["split"] != "train":
            return
        nonlocal resumed
        times[_RUN].append(1e6 * (time.perf_counter() - resumed) / window)
        calls: dict[str, Callable[..., Any]] = {_STEP: step, _PROGRAM: programs[0]}
        first = not times[_FIT]
        times[_FIT].append(1e6 / record["steps_per_second"])
        if first:  # compiles
            for name, call in calls.items():
                states[name], _ = turn(call, states[name], placed, len(placed))
        order = list(calls.items())
        for name, call in order if len(times[_FIT]) % 2 else order[::-1]:
            states[name], microseconds = turn(call, states[name], placed, window)
            times[name].append(microseconds)
        started = time.perf_counter()
        for index in range(window):
            source(record["step"] + index)
        times[_BATCHES].append(1e6 * (time.perf_counter() - started) / window)
        resumed = time.perf_counter()

    _fit(case, window, windows + 1, on_compile=programs.append, on_record=bare)
    return {name: np.asarray(values[1:]) for name, values in times.items()}


def _rows(task: str, unit: str, times: dict[str, np.ndarray]) -> list[Any]:
    ratios = {_PROGRAM: _ratio(times, _PROGRAM), _STEP: _ratio(times, _STEP)}
    return [
        timed(task, name, unit, values, note=_NOTES[name], ratio=ratios.get(name))
        for name, values in times.items()
    ]


def _ratio(times: dict[str, np.ndarray], name: str) -> float:
    return float(np.median(times[_RUN] / times[name]))


def _steps_per_second(case: Case, window: int, windows: int, several: int) -> list[float]:
    rates: list[float] = []
    _fit(
        case,
        window,
        windows + 1,
        several,
        on_record=lambda record: rates.append(record["steps_per_second"]),
    )
    return rates[1:]  # the first compiles


def _fit(case: Case, window: int, windows: int, several: int = 1, **watch: Any) -> None:
    dgm.fit(
        case.model,
        case.x,
        seed=jax.random.key(0),
        steps=window * windows,
        eval_every=window,
        batch_size=case.batch_size,
        optimizer=case.optimizer,
        init_rows=0,
        execution=dgm.Execution(parallel=Parallel(num_devices=1), steps_per_call=several),
        watch=dgm.Watch(progress=False, **watch),
    )
