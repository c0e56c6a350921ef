"""The command line that benchmarks of several tasks share."""

import argparse
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.benchmarks._report import header, load, table
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_work import Part


def run(
    name: str,
    tasks: Mapping[str, Callable[[Any], Part]],
    works: tuple[Any, Any],
    arguments: list[str] | None,
    summary: Callable[[Mapping[str, Part]], tuple[dict[str, Any], str]] | None = None,
) -> dict[str, Any]:
    """Run the tasks that the command line asks for, print their table and write ``--out``.

    Args:
      name: of the module.
      tasks: by name.
      works: how much a full run and a quick one measure, what tasks get.
      arguments: of the command line.
      summary: of the parts by task: entries to add to the results, and text to print below the table.

    Returns:
      What ``--out`` writes.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="tiny work: a test of the benchmark")
    parser.add_argument("--only", choices=list(tasks), nargs="+", default=list(tasks))
    parser.add_argument("--out", type=pathlib.Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    head = header() | {"devices": [device.device_kind for device in jax.devices()]}
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    print(
        f"{head['processor']}, {head['cores']} cores, load {head['load_before']}, JAX devices {head['devices']}\n"
        f"Python {head['python']}, {versions}",
        flush=True,
    )
    parts: dict[str, Part] = {}
    loads: dict[str, list[float]] = {}
    for task in options.only:
        print(f"running {task} ...", flush=True)
        parts[task] = tasks[task](works[options.quick])
        loads[task] = load()
    rows: list[Row] = [row for part in parts.values() for row in part.rows]
    more, text = ({}, "") if summary is None else summary(parts)
    results = {
        "header": head | {"load_after": loads},
        "rows": [row._asdict() for row in rows],
        "facts": {task: part.facts for task, part in parts.items()},
    } | more
    print(f"\nload after each task: {loads}\n\n{table(rows)}\n\n{text}".rstrip())
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return results
