"""When a run does what, and where it stands."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When things happen, in optimizer steps.

    Attributes:
      steps: length of the run.
      eval_every: log, evaluate and checkpoint every so many steps.
      patience: stop after so many evaluations without a better one; None never stops early.
      steps_per_call: steps that one call of the train step takes; divides the two above.
    """

    steps: int
    eval_every: int
    patience: int | None = None
    steps_per_call: int = 1

    def __post_init__(self) -> None:
        """Reject numbers that mean nothing."""
        if self.steps < 1 or self.eval_every < 1:
            raise ValueError(
                f"steps and eval_every must be at least 1, got {self.steps} and {self.eval_every}."
            )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 or None, got {self.patience}.")
        if self.steps_per_call < 1:
            raise ValueError(f"steps_per_call must be at least 1, got {self.steps_per_call}.")
        if self.steps % self.steps_per_call or self.eval_every % self.steps_per_call:
            raise ValueError(
                f"steps_per_call {self.steps_per_call} must divide steps ({self.steps}) and eval_every "
                f"({self.eval_every}); {math.gcd(self.steps, self.eval_every)} and its divisors do."
            )

    def check_start(self, step: int) -> None:
        """Raises ValueError if a run that stands at ``step`` cannot continue from there by this schedule."""
        if step > self.steps:
            raise ValueError(
                f"the run has taken {step} steps already, which is more than steps={self.steps}; give as many as it is "
                f"to have in the end, or use another work directory."
            )
        if step % self.steps_per_call:
            raise ValueError(
                f"the run stopped at step {step}, which is no multiple of steps_per_call {self.steps_per_call}; "
                f"continue with steps_per_call=1."
            )


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
