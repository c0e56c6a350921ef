"""The state of a run between two calls: all that it needs to go on, and the result for its caller."""

from typing import Generic, NamedTuple, TypeVar

from dgmjax.plots.curves import metric_name
from dgmjax.training.metrics import Record
from dgmjax.training.partition import Arrays
from dgmjax.training.schedule import Progress
from dgmjax.training.step import TrainState
from dgmjax.training.workdir import Settings

Model = TypeVar("Model")


class RunState(NamedTuple):
    """Where a run stands: all that it needs to go on.

    Attributes:
      state: parameters, optimizer state, averages, step; on the host in the result of `dgmjax.fit`.
      best: the best evaluated parameters so far, with running statistics; not in a result, whose model has them.
      progress: the part of its state that is no array.
      settings: of the call of `dgmjax.fit`, as in ``fit.json``.
    """

    state: TrainState
    best: Arrays
    progress: Progress
    settings: Settings


class FitResult(NamedTuple, Generic[Model]):
    """The result of `fit`.

    Attributes:
      model: the trained model: the best on validation if there was one, the last otherwise; averaged weights.
      history: records as in ``metrics.jsonl``: ``step``, ``split``, ``bound``, norms, and the metrics of the losses;
        those of likelihoods are ``nats``, the negative log-likelihood, and of integers ``bits_per_dim``.
      best_step: the step ``model`` is from.
      steps: steps taken; fewer than asked for if patience ran out.
      run: optimizer state, averages and step, on the host: what ``fit(..., continue_from=result)`` goes on with. None
        where several processes took part, and from `dgmjax.fit_density`.
    """

    model: Model
    history: list[Record]
    best_step: int
    steps: int
    run: RunState | None = None

    def __repr__(self) -> str:
        """E.g. ``FitResult(MAF, step 90 of 100, validation negative log-likelihood [nats]: 9.25, exact)``."""
        parts = [type(self.model).__name__, f"step {self.best_step:,} of {self.steps:,}"]
        monitor = "nats" if self.run is None else self.run.settings.get("monitor") or "nats"
        records = [record for record in self.history if record["step"] == self.best_step]
        for metric in (monitor, "loss"):
            # The last one is that of validation, if there is one.
            found = [record for record in records if metric in record]
            if found:
                value, split = found[-1][metric], found[-1]["split"]
                parts += [f"{split} {metric_name(metric)}: {value:.5g}", str(found[-1]["bound"])]
                break
        return f"FitResult({', '.join(parts)})"
