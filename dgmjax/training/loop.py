"""The training loop: steps, logs, evaluations, early stopping, checkpoints."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

from dgmjax.training.checkpoint import Checkpoints
from dgmjax.training.metrics import MetricsLog, Record, StepMetrics, means_of
from dgmjax.training.partition import Arrays
from dgmjax.training.preemption import PreemptedError, watch_for_preemption
from dgmjax.training.step import TrainState

_RUN_AHEAD = 32


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When things happen, in optimizer steps.

    Attributes:
      steps: length of the run.
      eval_every: log, evaluate and checkpoint every so many steps.
      patience: stop after so many evaluations without a better one; None never stops early.
    """

    steps: int
    eval_every: int
    patience: int | None = None

    def __post_init__(self) -> None:
        """Reject numbers that mean nothing."""
        if self.steps < 1 or self.eval_every < 1:
            raise ValueError(
                f"steps and eval_every must be at least 1, got {self.steps} and {self.eval_every}."
            )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 or None, got {self.patience}.")


@dataclasses.dataclass
class Progress:
    """Where a run stands: the part of its state that is no array.

    Attributes:
      step: optimizer steps taken.
      best_step: step of the best evaluation so far.
      best_value: its value, lower is better.
      stale: evaluations since then.
      finished: whether all steps are done or patience ran out.
      streak: skipped steps in a row up to now.
      names: names of the metrics in ``window``.
      window: metrics since the last log, a list of (sum, count) for each step; empty but in a preempted run.
    """

    step: int = 0
    best_step: int = 0
    best_value: float = math.inf
    stale: int = 0
    finished: bool = False
    streak: int = 0
    names: list[str] = dataclasses.field(default_factory=list)
    window: list[list[list[float]]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Loop:
    """What the loop needs; it knows steps and arrays, no model and no loss.

    Attributes:
      train_step: ``(state, batch) -> (state, metrics)``, donating its state.
      batches: ``batches(step)``.
      evaluated: ``state -> params`` to evaluate and keep, e.g. an average; fresh arrays.
      evaluate: ``(params, fixed) -> metrics``, or None; without it the last parameters are the best.
      schedule: when.
      log: where records go.
      checkpoints: where checkpoints go, or None.
      diagnose: ``(state, step) -> text``, the first term of that step that is not finite; see `make_diagnosis`.
      max_skipped: stop if so many steps in a row were skipped; looked at when it logs.
      labels: constants to add to every record, e.g. the bound of a likelihood.
      on_evaluation: called as ``on_evaluation(step, params)`` after each evaluation.
      monitor: metric of ``evaluate`` that selects the best parameters.
      show_progress: True, False, or None for "if standard error is a terminal".
    """

    train_step: Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]
    batches: Callable[[int], Any]
    evaluated: Callable[[TrainState], Arrays]
    evaluate: Callable[[Arrays, Arrays], dict[str, float]] | None
    schedule: Schedule
    log: MetricsLog
    checkpoints: Checkpoints | None = None
    diagnose: Callable[[TrainState, int], str] | None = None
    max_skipped: int = 10
    labels: dict[str, Any] = dataclasses.field(default_factory=dict)
    on_evaluation: Callable[[int, Arrays], None] | None = None
    monitor: str = "nats"
    show_progress: bool | None = None

    def run(
        self, state: TrainState, best: Arrays, progress: Progress
    ) -> tuple[TrainState, Arrays, Progress]:
        """Train from ``state`` to the end of the schedule; returns state, best parameters and progress.

        Raises:
          PreemptedError: SIGTERM came and there are checkpoints; one of this very step is written first.
          FloatingPointError: `max_skipped` steps in a row gave numbers that are not finite.
        """
        bar = tqdm(
            total=self.schedule.steps,
            initial=progress.step,
            unit="step",
            disable=None if self.show_progress is None else not self.show_progress,
        )
        window = [StepMetrics(tuple(progress.names), np.asarray(v)) for v in progress.window]
        progress.names, progress.window = [], []
        started = time.perf_counter()
        with bar, watch_for_preemption(active=self.checkpoints is not None) as preempted:
            while not progress.finished:
                state, metrics = self.train_step(state, self.batches(progress.step))
                window.append(metrics)
                if len(window) > _RUN_AHEAD:
                    # Steps are queued well ahead of the device, but not without bound; this one is long done.
                    jax.block_until_ready(window[-_RUN_AHEAD])
                progress.step += 1
                bar.update()
                last = progress.step >= self.schedule.steps
                if progress.step % self.schedule.eval_every and not last:
                    if preempted():
                        window = jax.device_get(window)
                        progress.names = list(window[0].names)
                        progress.window = [step.values.tolist() for step in window]
                        self._save(state, best, progress)
                        raise _preempted(progress)
                    continue
                record = self._log_window(progress.step, window, started)
                self._check_numbers(state, progress, window)
                best = self._evaluate(state, best, progress, record)
                progress.finished = progress.finished or last
                bar.set_postfix(_short(record), refresh=False)
                self._save(state, best, progress)
                if preempted() and not progress.finished:
                    raise _preempted(progress)
                window, started = [], time.perf_counter()
        return state, best, progress

    def _save(self, state: TrainState, best: Arrays, progress: Progress) -> None:
        if self.checkpoints is not None:
            arrays = {"state": state, "best": best}
            self.checkpoints.save(progress.step, arrays, dataclasses.asdict(progress))

    def _log_window(self, step: int, window: list[StepMetrics], started: float) -> Record:
        """Fetch the metrics of the steps since the last log: the loop's only copy from the device."""
        window[:] = jax.device_get(window)
        means = means_of(window)
        seconds = time.perf_counter() - started  # after the fetch, which waits for the last step
        skipped = round(means.pop("skipped", 0.0) * len(window))
        record = {"step": step, "split": "train", **means, **self.labels}
        record["steps_per_second"] = round(len(window) / seconds, 2)
        if skipped:
            record["skipped_steps"] = skipped
        self.log.write(record)
        return record

    def _check_numbers(
        self, state: TrainState, progress: Progress, window: list[StepMetrics]
    ) -> None:
        """Count skipped steps in a row; raises if they were too many at any time since the last log."""
        first = progress.step - len(window)
        for step, metrics in enumerate(window, start=first):
            skipped = dict(metrics.items()).get("skipped", (0.0,))[0]
            progress.streak = progress.streak + 1 if skipped else 0
            if progress.streak < self.max_skipped:
                continue
            term = "not looked for" if self.diagnose is None else self.diagnose(state, step)
            raise FloatingPointError(
                f"{progress.streak} steps in a row, up to step {step + 1}, gave numbers that are not finite and "
                f"changed nothing; first: {term}. Lower the learning rate or bound the scales (scale_fn='tanh')."
                + ("" if self.checkpoints is None else " The checkpoints up to here are kept.")
            )

    def _evaluate(
        self, state: TrainState, best: Arrays, progress: Progress, record: Record
    ) -> Arrays:
        params = self.evaluated(state)
        if self.evaluate is None:
            progress.best_step = progress.step
            return params
        metrics = self.evaluate(params, state.fixed)
        record |= {f"validation_{name}": value for name, value in metrics.items()}
        self.log.write({"step": progress.step, "split": "validation", **metrics, **self.labels})
        if not math.isfinite(metrics[self.monitor]):
            raise FloatingPointError(
                f"{self.monitor} on validation is {metrics[self.monitor]} at step {progress.step}; look for validation "
                f"rows far outside the training data."
            )
        if self.on_evaluation is not None:
            self.on_evaluation(progress.step, params)
        if metrics[self.monitor] < progress.best_value:
            progress.best_step, progress.best_value = progress.step, metrics[self.monitor]
            progress.stale = 0
            return params
        progress.stale += 1
        patience = self.schedule.patience
        progress.finished = patience is not None and progress.stale >= patience
        return best


def _preempted(progress: Progress) -> PreemptedError:
    return PreemptedError(
        f"stopped by SIGTERM; the checkpoint of step {progress.step} is written, and the same call continues from it"
    )


def _short(record: Record) -> dict[str, str]:
    """What the progress bar shows beside rate and time left."""
    names = {
        "loss": "loss",
        "bits_per_dim": "bits/dim",
        "validation_nats": "val nats",
        "validation_bits_per_dim": "val bits/dim",
    }
    return {text: f"{record[name]:.3f}" for name, text in names.items() if name in record}
