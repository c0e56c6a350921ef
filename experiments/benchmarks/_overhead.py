"""Python beside the compiled step: what the trainer's loop costs a step, on a model too small to matter."""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.training import Evaluation, Loop, MetricsLog, Progress, Schedule, Watch
from experiments.benchmarks import _dgmjax
from experiments.benchmarks._timing import Row, Sizes

_LOG_EVERY = 100


def overhead(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """Microseconds a step of `dgmjax.training.Loop`, of its parts, and of the bare executable.

    The loop fetches its metrics as often as in `dgmjax.fit` by default; its progress bar is off.
    """
    del peers
    model = dgm.RealNVP((2,), depth=2, width=4, rngs=nnx.Rngs(0))
    step, state = _dgmjax.trainer(model)
    x = np.random.RandomState(0).standard_normal((4_096, 2)).astype(np.float32)
    batches = dgm.data.Batches({"x": x}, 32, seed=0)
    batch = jax.tree.map(jax.numpy.asarray, batches(0))
    executable = step.lower(state, batch).compile()
    steps = sizes.loop_steps

    def loop(state: Any) -> Any:
        runner = Loop(
            train_step=step,
            batches=batches,
            evaluation=Evaluation(params=lambda state: state.params),
            schedule=Schedule(steps, min(steps, _LOG_EVERY)),
            log=MetricsLog(None),
            watch=Watch(progress=False),
        )
        return runner.run(state, state.params, Progress())[0]

    def repeat(call: Callable[[Any], tuple[Any, Any]], state: Any) -> Any:
        metrics = None
        for _ in range(steps):
            state, metrics = call(state)
        jax.block_until_ready((state, metrics))
        return state

    cases: dict[str, tuple[Callable[[Any], Any], str]] = {
        "trainer's loop": (loop, "batches, dispatch, run-ahead, metrics every 100 steps"),
        "jitted step, batches": (
            lambda state: repeat(lambda s: step(s, batches(0)), state),
            "NumPy batches of one epoch's start",
        ),
        "jitted step, one batch": (
            lambda state: repeat(lambda s: step(s, batch), state),
            "a batch on the device",
        ),
        "bare executable": (
            lambda state: repeat(lambda s: executable(s, batch), state),
            "the compiled step called directly",
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(max(sizes.rounds // 2, 2)):
        for name, (run, _) in cases.items():
            started = time.perf_counter()
            state = run(state)
            times[name].append(1e6 * (time.perf_counter() - started) / steps)
    rows = [_row(name, np.asarray(values), cases[name][1]) for name, values in times.items()]
    difference = np.asarray(times["trainer's loop"]) - np.asarray(times["bare executable"])
    return [*rows, _row("loop minus bare executable", difference, "Python a step")]


def _row(system: str, values: np.ndarray, note: str) -> Row:
    return Row(
        task="host time a step",
        system=f"dgmjax, {system}",
        unit="us",
        median=float(np.median(values)),
        minimum=float(values.min()),
        p90=float(np.quantile(values, 0.9)),
        note=note,
    )
