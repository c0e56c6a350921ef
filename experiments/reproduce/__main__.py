"""Run the checklist of the lectures: ``python -m experiments.reproduce [--only ID ...] [--quick]``.

Each entry trains what it needs, or takes a finished run, writes its pictures and records whether the numbers are what
the lecture says. Finished entries are not run again. ``RESULTS.md`` in the folder is made from all records there.
"""

import dataclasses
import json
import pathlib
import time
import traceback
from typing import Any

import jax
import tyro

from experiments.reproduce import (  # noqa: F401
    adversarial,
    autoregressive,
    bounds,
    change_of_variables,
    couplings,
    discrete,
    flow_is_vae,
    gaussians,
    glow,
    image_samples,
    more_layers,
    pixels,
    posterior_tables,
    posteriors,
    priors,
    reversible,
    surgery,
    vae_figures,
)
from experiments.reproduce.entry import ENTRIES, Context, Entry, finite
from experiments.reproduce.report import read_runs, results_page
from experiments.run.results import commit_of_checkout, write_json
from experiments.run.runtime import refuse_tasks

_LONG = 20.0


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    only: tuple[str, ...] = ()
    """Rows of the checklist, e.g. L7-11 D3-03, or lectures, e.g. L7; default all."""
    quick: bool = False
    """Small sizes, on digits and toys: everything in under 30 minutes on two cores."""
    out: pathlib.Path = pathlib.Path("reproduced")
    """Folder of records, pictures and runs."""
    results: pathlib.Path = pathlib.Path("docs/results/runs")
    """Folder of the results of trained models, one a file, that the page shows."""
    again: bool = False
    """Run finished entries again; finished runs of models are taken as they are."""
    list: bool = False
    """Name the entries and end."""
    seed: int = 0
    """Of data, weights, batches and noise."""


def _order(name: str) -> tuple[int, str]:
    """Rows in the order of the lectures."""
    return ["L7", "L5", "D3", "A4"].index(name[:2]), name


def chosen(only: tuple[str, ...]) -> list[Entry]:
    """The entries of these rows or lectures, in the order of the lectures.

    Raises:
      ValueError: a row without an entry.
    """
    entries = sorted(ENTRIES.values(), key=lambda one: _order(one.name))
    known = {row for one in entries for row in one.ids}
    for name in only:
        if name not in known and not any(row.startswith(f"{name}-") for row in known):
            raise ValueError(f"--only: no entry has the row {name}; see --list.")
    if not only:
        return entries
    return [
        one
        for one in entries
        if any(row == name or row.startswith(f"{name}-") for row in one.ids for name in only)
    ]


def run_entry(one: Entry, context: Context) -> dict[str, Any]:
    """Run it; returns the record, also of a failure."""
    started = time.perf_counter()
    context.pictures, context.tables = [], []
    error, checks = None, []
    try:
        checks = finite(one.run(context))
    except Exception as problem:  # noqa: BLE001 - one entry must not end the others
        traceback.print_exc()
        error = f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - started
    # Compiled programs of models take memory; those of small operations save the next entry seconds.
    if seconds > _LONG:
        jax.clear_caches()
    return {
        "ids": list(one.ids),
        "title": one.title,
        "quick": context.quick,
        "passed": error is None and all(check.passed for check in checks),
        "checks": [check._asdict() for check in checks],
        "pictures": context.pictures,
        "tables": context.tables,
        "error": error,
        "seconds": round(seconds, 1),
        "seed": context.seed,
        "commit": commit_of_checkout(),
        "device": jax.devices()[0].device_kind,
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = tyro.cli(Options, args=arguments, prog="python -m experiments.reproduce")
    try:
        refuse_tasks("experiments.reproduce")
        entries = chosen(options.only)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    if options.list:
        for one in entries:
            print(f"{', '.join(one.ids):32}{one.title}")
        return
    folder = options.out / ("quick" if options.quick else "full")
    (folder / "records").mkdir(parents=True, exist_ok=True)
    context = Context(folder, quick=options.quick, seed=options.seed)
    failed = []
    for one in entries:
        path = folder / "records" / f"{one.name}.json"
        if options.again or not path.exists() or not json.loads(path.read_text())["passed"]:
            write_json(path, run_entry(one, context))
        record = json.loads(path.read_text())
        failed += [] if record["passed"] else [one.name]
        print(
            f"{'pass' if record['passed'] else 'FAIL'}  {one.name:8}{record['seconds']:7.1f} s  {one.title}",
            flush=True,
        )
        for check in record["checks"]:
            if not check["passed"]:
                print(
                    f"      {check['what']}: {check['value']}, expected {check['target']}",
                    flush=True,
                )
    records = [json.loads(path.read_text()) for path in sorted((folder / "records").glob("*.json"))]
    records.sort(key=lambda record: _order(record["ids"][0]))
    (folder / "RESULTS.md").write_text(results_page(records, read_runs(options.results), folder))
    print(f"{len(entries) - len(failed)} of {len(entries)} pass; {folder / 'RESULTS.md'}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
