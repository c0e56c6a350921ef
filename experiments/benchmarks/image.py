"""Glow on images: ``python -m experiments.benchmarks.image [--quick] [--only TASK ...] [--out FILE]``.

Memory and compile time that do not grow with the depth, the time of steps beside scans that store activations and
beside normflows, sampling, and how far reversible stacks drift from what they rebuild. What is compared has turns in
alternation and reports medians; bytes, FLOPs and counts are those of the compiler. The drift is of ``natural32`` where
it is prepared (``TFDS_DATA_DIR``), otherwise of digits; normflows is skipped where it is not installed.
"""

import argparse
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.benchmarks._image_compiled import convolutions, large, memory
from experiments.benchmarks._image_drift import drift
from experiments.benchmarks._image_step import sampling, step_time
from experiments.benchmarks._image_work import QUICK, Goal, Work
from experiments.benchmarks._report import header, load, table
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_work import Part

TASKS: dict[str, Callable[[Work], Part]] = {
    "memory": memory,
    "convolutions": convolutions,
    "step": step_time,
    "sampling": sampling,
    "large": large,
    "drift": drift,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Command line; returns what ``--out`` writes."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.image")
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
    goals: list[Goal] = []
    facts: dict[str, Any] = {}
    loads: dict[str, list[float]] = {}
    for name in options.only:
        print(f"running {name} ...", flush=True)
        part = TASKS[name](work)
        rows += part.rows
        goals += part.facts.get("goals", [])
        facts[name] = {key: value for key, value in part.facts.items() if key != "goals"}
        loads[name] = load()
    results = {
        "header": head | {"load_after": loads},
        "rows": [row._asdict() for row in rows],
        "goals": [goal._asdict() | {"met": goal.measured <= goal.at_most} for goal in goals],
        "facts": facts,
    }
    print(f"\nload after each task: {loads}\n\n{table(rows)}\n\n{_goals(goals)}")
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _goals(goals: Sequence[Goal]) -> str:
    lines = ["| goal | measured | at most | |", "|---|---:|---:|---|"]
    for goal in goals:
        verdict = "met" if goal.measured <= goal.at_most else "missed"
        lines.append(f"| {goal.what} | {goal.measured:.3g} | {goal.at_most:.3g} | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
