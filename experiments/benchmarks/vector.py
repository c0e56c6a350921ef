"""Flows on vectors against other libraries: ``python -m experiments.benchmarks.vector [--quick] [--out FILE]``.

Every race has dgmjax and the peers do the same work in alternation, in one process, and reports medians; a ratio is
dgmjax's time over the system's, so below 1 dgmjax is faster. Peers that are not installed are skipped.
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from experiments.benchmarks._first_call import first_call
from experiments.benchmarks._inversion import inversion
from experiments.benchmarks._memory import memory
from experiments.benchmarks._overhead import overhead
from experiments.benchmarks._races import PEERS, RACES, installed_peers
from experiments.benchmarks._report import header, load, table
from experiments.benchmarks._second_call import second_call
from experiments.benchmarks._timing import QUICK, Row, Sizes

TASKS: dict[str, Callable[[Sizes, dict[str, ModuleType]], list[Row]]] = {
    **RACES,
    "inversion": inversion,
    "first-call": first_call,
    "second-call": second_call,
    "overhead": overhead,
    "memory": memory,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Command line; returns what ``--out`` writes."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.vector")
    parser.add_argument("--quick", action="store_true", help="tiny work: a test of the benchmark")
    parser.add_argument("--only", choices=list(TASKS), nargs="+", default=list(TASKS))
    parser.add_argument("--peers", choices=PEERS, nargs="*", default=list(PEERS))
    parser.add_argument("--out", type=pathlib.Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else Sizes()
    head = header()
    print(_described(head), flush=True)
    peers = installed_peers(options.peers)
    rows: list[Row] = []
    loads: dict[str, list[float]] = {}
    for name in options.only:
        print(f"running {name} ...", flush=True)
        rows += TASKS[name](sizes, peers)
        loads[name] = load()
    results = {
        "header": head | {"load_after": loads},
        "rows": [row._asdict() for row in rows],
    }
    print(f"\nload after each task: {loads}\n\n{table(rows)}")
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _described(head: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    return (
        f"{head['processor']}, {head['cores']} cores, load {head['load_before']}\n"
        f"Python {head['python']}, {versions}"
    )


if __name__ == "__main__":
    main()
