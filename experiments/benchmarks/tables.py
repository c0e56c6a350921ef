"""Densities of POWER: ``python -m experiments.benchmarks.tables [--quick] [--only NAME ...] [--out FILE]``.

Spline flows of dgmjax, flowjax, zuko and nflows of equal depth and width on the same batches, with the same optimizer
and schedule. They take turns, so all meet the same machine. The likelihood after equally many steps and after equally
many seconds is a table, and with ``--out`` a picture beside the file.
"""

import argparse
import dataclasses
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dgmjax as dgm
from experiments.benchmarks._report import header, load
from experiments.benchmarks._tables_work import QUICK, Contestant, Work

# What makes each contestant, and the package it needs.
CONTESTANTS = {
    "dgmjax-autoregressive": ("_tables_dgmjax", "autoregressive", "dgmjax"),
    "flowjax-autoregressive": ("_tables_flowjax", "autoregressive", "flowjax"),
    "zuko-autoregressive": ("_tables_zuko", "autoregressive", "zuko"),
    "nflows-autoregressive": ("_tables_nflows", "autoregressive", "nflows"),
    "dgmjax-coupling": ("_tables_dgmjax", "coupling", "dgmjax"),
    "flowjax-coupling": ("_tables_flowjax", "coupling", "flowjax"),
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, print the table, write ``--out``; returns what that file has."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.tables")
    parser.add_argument("--quick", action="store_true", help="tiny work: a test of the benchmark")
    parser.add_argument("--only", choices=list(CONTESTANTS), nargs="+", default=list(CONTESTANTS))
    parser.add_argument("--steps", type=int, help="steps of each contestant")
    parser.add_argument("--out", type=pathlib.Path, help="write the results as JSON, and a picture")
    options = parser.parse_args(arguments)
    work = QUICK if options.quick else Work()
    if options.steps is not None:
        work = dataclasses.replace(work, steps=options.steps)
    head = header()
    train, validation, test = _splits(work, quick=options.quick)
    runs = race(_made(options.only, train.shape[1], work), train, validation, work)
    for name, run in runs.items():
        log_probs = run.pop("log_prob")(test)
        run["test"] = float(log_probs.mean())
        run["standard_error"] = float(log_probs.std(ddof=1) / np.sqrt(len(log_probs)))
        print(f"{name}: test {run['test']:.3f} +- {run['standard_error']:.3f} nats", flush=True)
    results = {"header": head | {"load_after": load()}, "work": vars(work), "runs": runs}
    print(f"\n{table(runs)}")
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
        draw(runs, options.out.with_suffix(".png"))
    return results


def race(
    contestants: dict[str, Contestant], train: np.ndarray, validation: np.ndarray, work: Work
) -> dict[str, dict[str, Any]]:
    """Train all in turns; by name their curves: steps, seconds of training, mean log-likelihood of the validation rows.

    The first step of each is taken before the clock runs, on rows of its own: libraries compile in it.
    """
    random = np.random.RandomState(0)
    runs: dict[str, dict[str, Any]] = {
        name: {
            "parameters": one.parameters, "note": one.note, "steps": [], "seconds": [],
            "validation": [], "log_prob": one.log_prob,
        }
        for name, one in contestants.items()
    }  # fmt: skip
    started = dict.fromkeys(contestants, False)
    edges = np.linspace(0, work.steps, work.turns + 1).astype(int)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        rows = random.randint(len(train), size=(last - first, work.batch))
        for name, one in contestants.items():
            run, begun, batches = runs[name], 0.0, train[rows]
            if not started[name]:
                one.train(batches[:1])
                batches, started[name] = batches[1:], True
            begun = time.perf_counter()
            one.train(batches)
            seconds = time.perf_counter() - begun
            run["steps"].append(int(last))
            run["seconds"].append(seconds + (run["seconds"][-1] if run["seconds"] else 0.0))
            run["validation"].append(float(one.log_prob(validation).mean()))
            print(
                f"{name}: {last:,} steps, {run['seconds'][-1]:.0f} s, validation {run['validation'][-1]:.3f} nats",
                flush=True,
            )
    return runs


def table(runs: dict[str, dict[str, Any]]) -> str:
    """Markdown: test after all steps, and validation after as many seconds as the fastest took."""
    seconds = min(run["seconds"][-1] for run in runs.values())
    lines = [
        f"| flow | parameters | ms a step | test, nats, after {next(iter(runs.values()))['steps'][-1]:,} steps | "
        f"validation after {seconds:.0f} s |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, run in runs.items():
        after = np.interp(seconds, run["seconds"], run["validation"])
        a_step = 1e3 * run["seconds"][-1] / run["steps"][-1]
        lines.append(
            f"| {name} | {run['parameters']:,} | {a_step:.1f} | {run['test']:.3f} +- {run['standard_error']:.3f} | "
            f"{after:.3f} |"
        )
    return "\n".join([*lines, "", *(f"- {name}: {run['note']}." for name, run in runs.items())])


def draw(runs: dict[str, dict[str, Any]], path: pathlib.Path) -> None:
    """The curves over steps and over seconds."""
    dgm.plots.curve_panels(
        {
            axis: {name: (run[axis], run["validation"]) for name, run in runs.items()}
            for axis in ("steps", "seconds")
        },
        path,
        xlabel="of training",
        ylabel="validation log-likelihood, nats",
        title="POWER: spline flows of equal depth and width",
    )


def _made(names: list[str], dim: int, work: Work) -> dict[str, Contestant]:
    found = {}
    for name in names:
        module, function, package = CONTESTANTS[name]
        if importlib.util.find_spec(package) is None:
            print(f"{name}: {package} is not installed")
            continue
        make: Callable[[int, Work], Contestant] = getattr(
            importlib.import_module(f"experiments.benchmarks.{module}"), function
        )
        one = make(dim, work)
        found[one.name] = one
    return found


def _splits(work: Work, *, quick: bool) -> list[np.ndarray]:
    if quick:
        random = np.random.RandomState(1)
        return [random.normal(size=(work.rows or 1, 6)).astype(np.float32) for _ in range(3)]
    data = dgm.data.load_dataset("power")
    parts = [data.train, data.validation[: work.validation], data.test]
    return [part[: work.rows].astype(np.float32) for part in parts]


if __name__ == "__main__":
    main()
