"""Options of `dgmjax.fit` that only experts touch, in two groups, and those that are refused before it begins."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.layers.serialization.recorded import plain
from dgmjax.training.metrics import Record
from dgmjax.training.parallel import Parallel
from dgmjax.training.watch.program import Program


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How the steps of a run are carried out: devices, parts of a batch, where rows are kept and who reads them.

    Nothing of it changes a result, up to the order of sums, nor what a checkpoint holds: a run may go on with another.

    Attributes:
      parallel: how to spread a step over devices; default as many of them as divide the batch.
      accumulate: cut batches into so many parts, taken one after the other, and average their gradients: the same step
        in the activation memory of a part.
      steps_per_call: steps that one program takes, for small models, whose step costs less than its dispatch; divides
        ``steps`` and ``eval_every``.
      on_device: keep arrays on every device, and send row numbers only; default: on accelerators, up to 1 GB.
      workers: processes that read and decode records; 0 for threads. With workers the calling script needs
        ``if __name__ == "__main__":``.
    """

    parallel: Parallel | None = None
    accumulate: int = 1
    steps_per_call: int = 1
    on_device: bool | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        """Take numbers of NumPy and JAX as Python's."""
        _with_plain_numbers(self, "accumulate", "steps_per_call", "workers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """What is looked at, told and written down while a run goes, and when it is stopped.

    Attributes:
      progress: show a progress bar; default: if standard error is a terminal.
      on_start: called as ``on_start(step)`` when all is checked, before the first step.
      on_evaluation: called as ``on_evaluation(step, model)`` every ``eval_every`` steps, after the validation if any.
      on_record: called with every record of the history as it is written.
      on_compile: called with the compiled step, a `dgmjax.training.Program`, which knows its operations and memory,
        before it runs.
      max_skipped: a step whose loss or gradient is not finite changes nothing and is counted as ``skipped_steps`` in
        the history; if so many come in a row, the run stops when it logs next.
      debug_nans: stop at the first such step, and find operation, layer and line of the first bad number; slow.
      check_round_trip: warn if training rows of a flow do not come back, see `dgmjax.training.RoundTripWarning`.
      profile: directory for a trace of steps 11 to 20, for the profiler.
      settings: more to write into ``fit.json``, e.g. what ``optimizer`` was made of; may change as the rate may.
    """

    progress: bool | None = None
    on_start: Callable[[int], None] | None = None
    on_evaluation: Callable[[int, Any], None] | None = None
    on_record: Callable[[Record], None] | None = None
    on_compile: Callable[[Program], None] | None = None
    max_skipped: int = 10
    debug_nans: bool = False
    check_round_trip: bool = True
    profile: str | pathlib.Path | None = None
    settings: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Take a number of NumPy or JAX as Python's."""
        _with_plain_numbers(self, "max_skipped")


def check_options(
    *,
    seed: jax.Array,
    ema_decay: float,
    init_rows: int | None,
    needs_validation: bool,
    execution: Execution,
    watch: Watch,
) -> None:
    """Raises TypeError or ValueError for settings that mean nothing; their names are those of `dgmjax.fit`."""
    if not 0.0 <= ema_decay < 1.0:
        raise ValueError(f"fit: ema_decay must be in [0, 1), got {ema_decay}.")
    if not jnp.issubdtype(jnp.result_type(seed), jax.dtypes.prng_key):
        raise TypeError(f"fit: seed must be a typed key, jax.random.key(0), got {seed!r}.")
    if init_rows is not None and init_rows < 0:
        raise ValueError(f"fit: init_rows must be at least 0 or None, got {init_rows}.")
    if watch.max_skipped < 1 or execution.accumulate < 1:
        raise ValueError(
            f"fit: max_skipped and accumulate must be at least 1, got {watch.max_skipped} and {execution.accumulate}."
        )
    if watch.debug_nans and jax.process_count() > 1:
        raise ValueError("fit: debug_nans looks at one process; continue the run with one.")
    if needs_validation:
        raise ValueError(
            "fit: patience and validation_weights are of validation data; pass validation=..."
        )


def _with_plain_numbers(options: Execution | Watch, *names: str) -> None:
    for name in names:
        object.__setattr__(options, name, plain(getattr(options, name)))
