"""The results as text and as JSON."""

import os
import pathlib
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from experiments.benchmarks._timing import Row

_PACKAGES = (
    "dgmjax", "jax", "jaxlib", "flax", "numpy", "flowjax", "equinox", "torch", "zuko", "nflows",
    "normflows",
)  # fmt: skip


def header() -> dict[str, Any]:
    """Processor, cores, versions, and the load before the measurements."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "load_before": load(),
    }


def load() -> list[float]:
    """Mean number of runnable threads over 1, 5 and 15 minutes, this process's included."""
    return [round(value, 2) for value in os.getloadavg()]


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line a row, then the notes."""
    lines = [
        "| task | system | median | [min, p90] | CPU | ratio | parameters |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        spread = "" if row.minimum is None else f"[{_short(row.minimum)}, {_short(row.p90)}]"
        cells = [
            row.task,
            row.system,
            f"{_short(row.median)} {row.unit}",
            spread,
            _short(row.cpu),
            "" if row.ratio is None else f"{row.ratio:.3f}",
            f"{row.parameters:,}" if row.parameters else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {row.task}, {row.system}: {row.note}." for row in rows if row.note]
    return "\n".join([*lines, "", *notes])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _processor() -> str:
    """``platform.processor`` is empty on many Linux systems."""
    path = pathlib.Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
