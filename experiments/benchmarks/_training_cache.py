"""The first step of a fresh process, with and without compiled programs on disk.

``python -m experiments.benchmarks._training_cache WORK DIRECTORY`` takes that step and prints the seconds it took.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import jax

import dgmjax as dgm
import experiments
from dgmjax.training import Parallel, Source
from experiments.benchmarks._training_work import Part, Work, digits, timed


def compilation_cache(work: Work) -> Part:
    """Seconds of the first step of ``realnvp_digits`` in a fresh process: trace, lower, compile or load, run.

    With an empty directory of `dgmjax.training.use_compilation_cache`, and with one that another process has filled,
    in alternation. Imports and the model are made before the clock starts.
    """
    times: dict[str, list[float]] = {"empty": [], "filled": []}
    with tempfile.TemporaryDirectory() as filled:
        _first_step(work, filled)
        for _ in range(work.cache_rounds):
            with tempfile.TemporaryDirectory() as empty:
                times["empty"].append(_first_step(work, empty))
            times["filled"].append(_first_step(work, filled))
        entries = sum(1 for path in pathlib.Path(filled).rglob("*") if path.is_file())
    ratios = [empty / filled for empty, filled in zip(times["empty"], times["filled"], strict=True)]
    task = "first step of realnvp_digits, fresh process"
    ratio = sorted(ratios)[len(ratios) // 2]
    return Part(
        [
            timed(task, "empty cache", "s", times["empty"], note="trace, lower, compile, run"),
            timed(task, "filled cache", "s", times["filled"], ratio=ratio, note="loaded from disk"),
        ],
        {"files": entries},
    )


def _first_step(work: Work, directory: str) -> float:
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(work)), directory]
    root = pathlib.Path(experiments.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cache: {' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Take one step; print its seconds."""
    work = Work(**json.loads(sys.argv[1]))
    dgm.training.use_compilation_cache(sys.argv[2])
    case, parallel = digits(work), Parallel(num_devices=1)
    step, state = case.step(parallel)
    batch = Source({"x": case.x}, case.batch_size, seed=0, parallel=parallel)(0)
    started = time.perf_counter()
    jax.block_until_ready(step(state, batch))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
