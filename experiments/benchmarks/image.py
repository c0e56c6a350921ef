"""Glow on images: ``python -m experiments.benchmarks.image [--quick] [--only TASK ...] [--out FILE]``.

Memory and compile time that do not grow with the depth, the time of steps beside scans that store activations and
beside normflows, sampling, and how far reversible stacks drift from what they rebuild. What is compared has turns in
alternation and reports medians; bytes, FLOPs and counts are those of the compiler. The drift is of ``natural32`` where
it is prepared (``TFDS_DATA_DIR``), otherwise of digits; normflows is skipped where it is not installed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.benchmarks._command import run
from experiments.benchmarks._image_compiled import convolutions, large, memory
from experiments.benchmarks._image_drift import drift
from experiments.benchmarks._image_step import sampling, step_time
from experiments.benchmarks._image_work import QUICK, Goal, Work
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
    return run("image", TASKS, (Work(), QUICK), arguments, _with_goals)


def _with_goals(parts: Mapping[str, Part]) -> tuple[dict[str, Any], str]:
    goals: list[Goal] = [goal for part in parts.values() for goal in part.facts.pop("goals", [])]
    lines = ["| goal | measured | at most | |", "|---|---:|---:|---|"]
    entries = []
    for goal in goals:
        met = goal.measured <= goal.at_most
        entries.append(goal._asdict() | {"met": met})
        verdict = "met" if met else "missed"
        lines.append(f"| {goal.what} | {goal.measured:.3g} | {goal.at_most:.3g} | {verdict} |")
    return {"goals": entries}, "\n".join(lines)


if __name__ == "__main__":
    main()
