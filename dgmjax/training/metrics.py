"""Metrics as (sum, count) pairs, and their log: one JSON object a line."""

import dataclasses
import functools
import json
import math
import os
import pathlib
from collections.abc import Callable, ItemsView, Iterable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

Record = dict[str, Any]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["values"], meta_fields=["names"])
@dataclasses.dataclass(frozen=True)
class StepMetrics:
    """The metrics of one step in one array: a step has a dozen numbers, and every array costs time to hand out.

    Attributes:
      names: what the rows are.
      values: ``[len(names), 2]``, sums and counts; ``[k, len(names), 2]`` from a call that took ``k`` steps.
    """

    names: tuple[str, ...]
    values: Any

    @classmethod
    def pack(cls, metrics: Mapping[str, tuple[jax.Array, jax.Array]]) -> Self:
        """From pairs (sum, count) by name, in the widest of their floating dtypes."""
        arrays = [[jnp.asarray(a) for a in pair] for pair in metrics.values()]
        dtype = jnp.result_type(float, *(total.dtype for total, _ in arrays))
        pairs = [jnp.stack([a.astype(dtype) for a in pair]) for pair in arrays]
        return cls(tuple(metrics), jnp.stack(pairs))

    def items(self) -> ItemsView[str, tuple[Any, Any]]:
        """Names with their pairs (sum, count)."""
        pairs = ((total, count) for total, count in self.values)
        return dict(zip(self.names, pairs, strict=True)).items()


def fetch(metrics: Iterable[StepMetrics]) -> list[StepMetrics]:
    """Wait for the device and copy: one `StepMetrics` a step, also from calls that took several."""
    steps: list[StepMetrics] = []
    for entry in jax.device_get(list(metrics)):
        several = entry.values.reshape(-1, *entry.values.shape[-2:])
        steps += [StepMetrics(entry.names, values) for values in several]
    return steps


def merge_metrics(
    metrics: Iterable[StepMetrics | Mapping[str, tuple[Any, Any]]],
) -> dict[str, float]:
    """Means over batches of any size: ``sum of sums / sum of counts`` for every name.

    Waits for the device, so it is called once a window of steps, never every step.
    """
    return means_of(jax.device_get(list(metrics)))


def means_of(metrics: Iterable[StepMetrics | Mapping[str, tuple[Any, Any]]]) -> dict[str, float]:
    """`merge_metrics` of values that are fetched already."""
    totals: dict[str, tuple[float, float]] = {}
    metrics = list(metrics)
    steps = [entry for entry in metrics if isinstance(entry, StepMetrics)]
    if steps and len(steps) == len(metrics) and len({entry.names for entry in steps}) == 1:
        # The steps of a window, all alike: one sum, not a thousand additions in Python.
        values = np.stack([entry.values for entry in steps]).sum(0, dtype=np.float64)
        metrics = [StepMetrics(steps[0].names, values)]
    for batch in metrics:
        for name, (total, count) in batch.items():
            previous = totals.get(name, (0.0, 0.0))
            totals[name] = (previous[0] + float(total), previous[1] + float(count))
    return {name: total / count if count else math.nan for name, (total, count) in totals.items()}


class MetricsLog:
    """``metrics.jsonl``: appended to, one object a line, in the order of the steps.

    Args:
      path: the file, or None to keep the records in memory only.
      on_record: called with every record written.
    """

    def __init__(
        self, path: pathlib.Path | None, on_record: Callable[[Record], None] | None = None
    ):
        self.path = path
        self.on_record = on_record
        self.records: list[Record] = []

    def rewind(self, step: int, records: list[Record] | None = None) -> list[Record]:
        """Keep the records up to ``step``; later ones are replayed by the resumed run, to the same values.

        A line cut short by a kill is dropped with them, and what a run that goes on at ``step`` noted of its settings.
        The file is replaced in one piece. Returns what is kept: of the file, or of ``records`` from elsewhere.
        """
        if records is not None:
            self.records = records
        elif self.path is not None and self.path.exists():
            self.records = read_records(self.path, step)
        if self.path is None or not (self.path.exists() or self.records):
            return self.records
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(record) + "\n" for record in self.records))
        os.replace(temporary, self.path)
        return self.records

    def write(self, record: Record) -> None:
        """Append one record; NaN and infinities are written as strings, so that every line is strict JSON."""
        clean = {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        self.records.append(clean)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(clean) + "\n")
        if self.on_record is not None:
            self.on_record(record)


def read_records(path: pathlib.Path, step: int) -> list[Record]:
    """The records of ``metrics.jsonl`` up to ``step``, without changes of the settings noted at that very step."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [record for record in map(_parse, lines) if record is not None]
    return [
        record
        for record in records
        if record["step"] < step or (record["step"] == step and record.get("split") != "settings")
    ]


def _parse(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and "step" in record else None
