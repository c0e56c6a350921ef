"""The training loop: steps, logs, evaluations, early stopping, checkpoints."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

from dgmjax.training.checkpoint import Checkpoints
from dgmjax.training.distributed import is_first
from dgmjax.training.evaluation import Evaluation
from dgmjax.training.metrics import MetricsLog, Record, StepMetrics, fetch, means_of
from dgmjax.training.options import Watch
from dgmjax.training.partition import Arrays
from dgmjax.training.schedule import Progress, Schedule
from dgmjax.training.step import TrainState
from dgmjax.training.watch.preemption import PreemptedError, watch_for_preemption
from dgmjax.training.watch.profile import Profile

_RUN_AHEAD = 32


@dataclasses.dataclass
class Loop:
    """Takes the steps of a run; it knows steps and arrays, no model and no loss.

    Attributes:
      train_step: ``(state, batch) -> (state, metrics)``, donating its state; takes ``schedule.steps_per_call`` steps.
      batches: ``batches(step)``, for the steps of the call that begins at ``step``.
      evaluation: which parameters are evaluated and kept.
      schedule: when.
      log: where records go.
      checkpoints: where checkpoints go, or None.
      watch: when skipped steps stop it, whom it tells; ``debug_nans`` looks at every step as it is taken, which waits
        for the device. The loop has no use for ``on_start``, ``on_compile``, ``check_round_trip`` and ``settings``.
      diagnose: ``(state, step) -> text``, the first term of that step that is not finite; see `make_diagnosis`.
      labels: constants to add to every record, e.g. the bound of a likelihood.
      rates: ``steps a second -> entries`` to add to the records of training.
    """

    train_step: Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]
    batches: Callable[[int], Any]
    evaluation: Evaluation
    schedule: Schedule
    log: MetricsLog
    checkpoints: Checkpoints | None = None
    watch: Watch = Watch()
    diagnose: Callable[[TrainState, int], str] | None = None
    labels: dict[str, Any] = dataclasses.field(default_factory=dict)
    rates: Callable[[float], dict[str, float]] | None = None

    def run(
        self, state: TrainState, best: Arrays, progress: Progress
    ) -> tuple[TrainState, Arrays, Progress]:
        """Train from ``state`` to the end of the schedule; returns state, best parameters and progress.

        Raises:
          PreemptedError: SIGTERM came and there are checkpoints; one of this very step is written first.
          FloatingPointError: ``watch.max_skipped`` steps in a row gave numbers that are not finite.
        """
        show = self.watch.progress if is_first() else False
        bar = tqdm(
            total=self.schedule.steps,
            initial=progress.step,
            unit="step",
            disable=None if show is None else not show,
        )
        window = [StepMetrics(tuple(progress.names), np.asarray(v)) for v in progress.window]
        progress.names, progress.window = [], []
        started, taken, compiled = time.perf_counter(), 0, False
        ahead = max(2, _RUN_AHEAD // self.schedule.steps_per_call)
        # Several processes have to hear of a signal together, so they always listen.
        listen = self.checkpoints is not None or jax.process_count() > 1
        with (
            bar,
            contextlib.closing(Profile(self.watch.profile)) as profile,
            watch_for_preemption(active=listen) as preempted,
        ):
            while not progress.finished:
                state, metrics = self.train_step(state, self.batches(progress.step))
                window.append(metrics)
                if len(window) > ahead and not len(window) % (ahead // 2):
                    # Steps are queued well ahead of the device, but not without bound; this one is long done.
                    jax.block_until_ready(window[-ahead])
                progress.step += self.schedule.steps_per_call
                taken += self.schedule.steps_per_call
                if not compiled and self.schedule.eval_every > self.schedule.steps_per_call:
                    # Rates are those of steps, not of compiling the first one.
                    started, taken, compiled = time.perf_counter(), 0, True
                bar.update(self.schedule.steps_per_call)
                profile.after(self.schedule.steps_per_call, metrics)
                if self.watch.debug_nans:
                    self._check_numbers(state, progress, fetch([metrics]))
                last = progress.step >= self.schedule.steps
                if progress.step % self.schedule.eval_every and not last:
                    if preempted():
                        steps = fetch(window)
                        progress.names = list(steps[0].names)
                        progress.window = [step.values.tolist() for step in steps]
                        self._save(state, best, progress)
                        raise self._preempted(progress)
                    continue
                steps = fetch(window)
                seconds = time.perf_counter() - started  # after the fetch, which waits
                record = self._log(progress.step, steps, taken / seconds)
                self._check_numbers(state, progress, steps)
                best = self._evaluate(state, best, progress, record)
                progress.finished = progress.finished or last
                bar.set_postfix(_short(record), refresh=False)
                self._save(state, best, progress)
                if preempted() and not progress.finished:
                    raise self._preempted(progress)
                window, started, taken = [], time.perf_counter(), 0
            if self.checkpoints is not None:
                self.checkpoints.wait()  # before a signal that came last is delivered
        return state, best, progress

    def _preempted(self, progress: Progress) -> PreemptedError:
        if self.checkpoints is None:
            return PreemptedError(f"stopped by SIGTERM after step {progress.step}")
        self.checkpoints.wait()
        return PreemptedError(
            f"stopped by SIGTERM; the checkpoint of step {progress.step} is written, and the same call continues from "
            f"it"
        )

    def _save(self, state: TrainState, best: Arrays, progress: Progress) -> None:
        if self.checkpoints is not None:
            arrays = {"state": state, "best": best}
            self.checkpoints.save(progress.step, arrays, dataclasses.asdict(progress))

    def _log(self, step: int, window: list[StepMetrics], steps_per_second: float) -> Record:
        means = means_of(window)
        skipped = round(means.pop("skipped", 0.0) * len(window))
        record = {"step": step, "split": "train", **means, **self.labels}
        record["steps_per_second"] = round(steps_per_second, 2)
        if self.rates is not None:
            record |= self.rates(steps_per_second)
        if skipped:
            record["skipped_steps"] = skipped
        self.log.write(record)
        return record

    def _check_numbers(
        self, state: TrainState, progress: Progress, window: list[StepMetrics]
    ) -> None:
        """Count skipped steps in a row; raises if they were too many at any time since the last log."""
        first = progress.step - len(window)
        most = 1 if self.watch.debug_nans else self.watch.max_skipped
        row = window[0].names.index("skipped") if "skipped" in window[0].names else None
        for step, metrics in enumerate(window, start=first):
            skipped = row is not None and metrics.values[row, 0] > 0
            progress.streak = progress.streak + 1 if skipped else 0
            if progress.streak < most:
                continue
            term = "not looked for" if self.diagnose is None else self.diagnose(state, step)
            many = f"{progress.streak} steps in a row, up to step {step + 1},"
            who = many if progress.streak > 1 else f"step {step + 1}"
            raise FloatingPointError(
                f"{who} gave numbers that are not finite and changed nothing; first: {term}. Lower the "
                f"learning rate, clip the gradients, or bound the scales where the model has an option for that."
                + ("" if self.checkpoints is None else " The checkpoints up to here are kept.")
            )

    def _evaluate(
        self, state: TrainState, best: Arrays, progress: Progress, record: Record
    ) -> Arrays:
        params = self.evaluation.params(state)
        if self.evaluation.measure is None:
            progress.best_step = progress.step
            self._tell(progress.step, params)
            return params
        metrics = self.evaluation.measure(params, state.fixed)
        record |= {f"validation_{name}": value for name, value in metrics.items()}
        self.log.write({"step": progress.step, "split": "validation", **metrics, **self.labels})
        value = metrics[self.evaluation.monitor]
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{self.evaluation.monitor} on validation is {value} at step {progress.step}; look for validation "
                f"rows far outside the training data."
            )
        self._tell(progress.step, params)
        if value < progress.best_value:
            progress.best_step, progress.best_value = progress.step, value
            progress.stale = 0
            return params
        progress.stale += 1
        patience = self.schedule.patience
        progress.finished = patience is not None and progress.stale >= patience
        return best

    def _tell(self, step: int, params: Arrays) -> None:
        if self.watch.on_evaluation is not None:
            self.watch.on_evaluation(step, self.evaluation.model(params))


def _short(record: Record) -> dict[str, str]:
    """What the progress bar shows beside rate and time left."""
    names = {name: name.replace("_", " ") for name in record if name.endswith("_loss")} | {
        "loss": "loss",
        "bits_per_dim": "bits/dim",
        "validation_nats": "val NLL [nats]",
        "validation_bits_per_dim": "val bits/dim",
    }
    return {text: f"{record[name]:.3f}" for name, text in names.items() if name in record}
