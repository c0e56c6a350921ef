"""The trainer: ``python -m experiments.benchmarks.training [--quick] [--only TASK ...] [--out FILE]``.

What `dgmjax.fit` adds to its compiled step, what it waits for, how batches come, what devices send each other, and
what checkpoints and compiling cost. Every part has turns in alternation and reports medians.
"""

from collections.abc import Callable
from typing import Any

from experiments.benchmarks._command import run
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
    return run("training", TASKS, (Work(), QUICK), arguments)


if __name__ == "__main__":
    main()
