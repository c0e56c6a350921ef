"""The state of a run between two calls: all that it needs to go on, and the result for its caller."""

from typing import Generic, NamedTuple, TypeVar

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
      history: records as in ``metrics.jsonl``: ``step``, ``split``, ``nats``, ``bits_per_dim``, ``bound``, norms.
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
