"""``RESULTS.md``: what was trained, with published numbers beside it, and the lectures row by row."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.reproduce.documented import DOCUMENTED
from experiments.reproduce.published import BESIDE, PUBLISHED, beside
from experiments.settings.measured_likelihood import plus_minus


def results_page(
    records: Sequence[dict[str, Any]],
    runs: Sequence[dict[str, Any]] = (),
    folder: pathlib.Path | None = None,
) -> str:
    """Markdown of the records of entries and the ``result.json`` of runs.

    Args:
      records: of entries.
      runs: of trained models.
      folder: where the tables of the records lie; none are shown without.
    """
    lines = [
        "# Results",
        "",
        "Made by `python -m experiments.reproduce`; do not edit. Every likelihood names its bound.",
        "",
        *(_runs_table(runs) if runs else []),
        "## Published",
        "",
        "From the lectures, or from the papers and code they cite; also where nothing of ours stands beside.",
        "",
    ]
    for title, rows in PUBLISHED.items():
        lines += [f"### {title}", "", "| model | number | kind | source |", "|---|---|---|---|"]
        lines += [f"| {row.model} | {row.number} | {row.kind} | {row.source} |" for row in rows]
        lines.append("")
    if records:
        lines += _entries_table(records)
    if folder is not None:
        lines += _tables(records, folder)
    lines += _rows_that_are_text()
    return "\n".join(lines).rstrip() + "\n"


def _entries_table(records: Sequence[dict[str, Any]]) -> list[str]:
    passed = sum(record["passed"] for record in records)
    minutes = sum(record["seconds"] for record in records) / 60
    sizes = "small sizes (`--quick`)" if all(r["quick"] for r in records) else "full sizes"
    return [
        "## The lectures, row by row",
        "",
        f"{passed} of {len(records)} entries pass, {sizes}, {minutes:.0f} minutes on {records[0]['device']}.",
        "",
        "| rows | what | passes | numbers | seconds |",
        "|---|---|---|---|---:|",
        *(_entry_row(record) for record in records),
        "",
    ]


def _tables(records: Sequence[dict[str, Any]], folder: pathlib.Path) -> list[str]:
    """The tables that entries wrote."""
    lines = []
    for record in records:
        for path in record.get("tables", ()):
            title = record["title"].removeprefix("TABLE: ")
            text = (folder / path).read_text().rstrip()
            lines += [f"### {', '.join(record['ids'])}: {title}", "", text, ""]
    return ["## Tables of the rows", "", *lines] if lines else []


def _rows_that_are_text() -> list[str]:
    lines = ["## Rows that are text", "", "| row | what | where |", "|---|---|---|"]
    for row, one in DOCUMENTED.items():
        where = f"{one.page}, {one.section}" if one.section else one.page
        lines.append(f"| {row} | {one.says} | {where} |")
    return lines


def read_runs(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The results that a folder keeps, ``<run>.json`` each."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _runs_table(runs: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "## Trained here",
        "",
        "On test data, selected on validation. Published numbers stand beside ours where the data are the same and the "
        "number is of the same kind or nearly, with its kind; the other tables of published numbers are below.",
        "",
        "| run | data | version | test | | bound and K, or kind | parameters | steps | seconds of the last session "
        "| device | commit | published | compared |",
        "|---|---|---|---:|---:|---|---:|---:|---:|---|---|---|---|",
    ]
    for run in runs:
        name = run.get("run", run["config"])
        cells = (
            name,
            run["data"],
            run.get("data_version") or "",
            *_test_cells(run["test"]),
            f"{run['parameters']:,}",
            f"{run['steps']:,}",
            f"{run['seconds_of_last_session']:.0f}",
            run["device"],
            (run.get("commit") or "")[:9],
            *_published_cells(name, run),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _published_cells(name: str, run: dict[str, Any]) -> tuple[str, str]:
    """What others had, and how ours stands to it."""
    rows = beside(name)
    if not rows:
        return "none of its kind on these data", ""
    said = "; ".join(f"{row.model}: {row.number} ({row.kind})" for row in rows)
    why = BESIDE[name].why
    if BESIDE[name].split == "validation":
        why = f"ours on validation {run['validation']['nats']:.2f}; {why}"
    return said, why


def _test_cells(test: dict[str, Any]) -> tuple[str, str, str]:
    """Two numbers of a test and their kind: a likelihood, or whatever the system measures first."""
    if "standard_error_nats" in test:
        nats = f"NLL {test['nats']:.2f}{plus_minus(test['standard_error_nats'])} nats"
        bound = test["bound"]
        one = "" if "=" in bound or "one-sample" not in bound else ", K=1"
        bits = f"{test['bits_per_dim']:.3f} bits/dim" if "bits_per_dim" in test else ""
        return nats, bits, f"{bound}{one}"
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
