"""``RESULTS.md``: what was reproduced, what was trained, and what others published."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.reproduce.published import PUBLISHED


def results_page(records: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]] = ()) -> str:
    """Markdown of the records of entries and the ``result.json`` of runs."""
    passed = sum(record["passed"] for record in records)
    lines = [
        "# Results",
        "",
        "Made by `python -m experiments.reproduce`; do not edit. Every likelihood names its bound.",
        "",
        *(_runs_table(runs) if runs else []),
        "## Published",
        "",
        "From the lectures, or from the papers and code they cite.",
        "",
    ]
    for title, rows in PUBLISHED.items():
        lines += [f"### {title}", "", "| model | number | kind | source |", "|---|---|---|---|"]
        lines += [f"| {row.model} | {row.number} | {row.kind} | {row.source} |" for row in rows]
        lines.append("")
    if records:
        minutes = sum(record["seconds"] for record in records) / 60
        sizes = "small sizes (`--quick`)" if all(r["quick"] for r in records) else "full sizes"
        lines += [
            "## The lectures, row by row",
            "",
            f"{passed} of {len(records)} entries pass, {sizes}, {minutes:.0f} minutes on {records[0]['device']}.",
            "",
            "| rows | what | passes | numbers | seconds |",
            "|---|---|---|---|---:|",
        ]
        lines += [_entry_row(record) for record in records]
    return "\n".join(lines).rstrip() + "\n"


def read_runs(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The results that a folder keeps, ``<run>.json`` each."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _runs_table(runs: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "## Trained here",
        "",
        "On test data, selected on validation.",
        "",
        "| run | data | test | | bound or kind | parameters | steps | seconds | device | commit |",
        "|---|---|---:|---:|---|---:|---:|---:|---|---|",
    ]
    for run in runs:
        cells = (
            run.get("run", run["config"]),
            run["data"],
            *_test_cells(run["test"]),
            f"{run['parameters']:,}",
            f"{run['steps']:,}",
            f"{run['seconds_of_last_session']:.0f}",
            run["device"],
            (run.get("commit") or "")[:9],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _test_cells(test: dict[str, Any]) -> tuple[str, str, str]:
    """Two numbers of a test and their kind: a likelihood, or whatever the system measures first."""
    if "bits_per_dim" in test:
        nats = f"{test['nats']:.2f} +- {test['standard_error_nats']:.2f} nats"
        return nats, f"{test['bits_per_dim']:.3f} bits/dim", test["bound"]
    numbers = [f"{name} {value:.4g}" for name, value in test.items() if isinstance(value, float)]
    first, second = [*numbers, "", ""][:2]
    return first, second, ""


def _entry_row(record: dict[str, Any]) -> str:
    numbers = "; ".join(
        f"{check['what']}: {_number(check['value'])} ({check['target']})"
        for check in record["checks"]
    )
    said = numbers if record["error"] is None else record["error"]
    verdict = "yes" if record["passed"] else "**no**"
    text = said.replace("|", "\\|").replace("\n", " ")
    return f"| {', '.join(record['ids'])} | {record['title']} | {verdict} | {text} | {record['seconds']:.0f} |"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
