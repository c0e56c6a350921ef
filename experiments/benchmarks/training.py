"""The trainer: ``python -m experiments.benchmarks.training [--quick] [--only TASK ...] [--out FILE]``.

What `dgmjax.fit` adds to its compiled step, what it waits for, how batches come, what devices send each other, and
what checkpoints and compiling cost. Every part has turns in alternation and reports medians.
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from experiments.benchmarks._report import header, load, table
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_cache import compilation_cache
from experiments.benchmarks._training_checkpoints import checkpoints
from experiments.benchmarks._training_input import input_pipeline
from experiments.benchmarks._training_loop import overhead, step_time, superbatch
from experiments.benchmarks._training_scaling import scaling
from experiments.benchmarks._training_syncs import syncs
from experiments.benchmarks._training_work import QUICK, Part, Work

TASKS: dict[str, Callable[[Work], Part]] = {
    "overhead": overhead,
    "syncs": syncs,
    "step": step_time,
    "superbatch": superbatch,
    "input": input_pipeline,
    "scaling": scaling,
    "checkpoints": checkpoints,
    "cache": compilation_cache,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Command line; returns what ``--out`` writes."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.training")
    parser.add_argument("--quick", action="store_true", help="tiny work: a test of the benchmark")
    parser.add_argument("--only", choices=list(TASKS), nargs="+", default=list(TASKS))
    parser.add_argument("--out", type=pathlib.Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    work = QUICK if options.quick else Work()
    head = header() | {"devices": [device.device_kind for device in jax.devices()]}
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    print(
        f"{head['processor']}, {head['cores']} cores, load {head['load_before']}, JAX devices {head['devices']}\n"
        f"Python {head['python']}, {versions}",
        flush=True,
    )
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    loads: dict[str, list[float]] = {}
    for name in options.only:
        print(f"running {name} ...", flush=True)
        part = TASKS[name](work)
        rows += part.rows
        facts[name] = part.facts
        loads[name] = load()
    results = {
        "header": head | {"load_after": loads},
        "rows": [row._asdict() for row in rows],
        "facts": facts,
    }
    print(f"\nload after each task: {loads}\n\n{table(rows)}")
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return results


if __name__ == "__main__":
    main()
