"""What kind of statement a likelihood is: exact, or which bound."""

import dataclasses
import math
from typing import Any, Literal, TypeVar

T = TypeVar("T", bound=Any)


@dataclasses.dataclass(frozen=True)
class Bound:
    """The label that travels with a log-likelihood into metrics, tables and plots.

    Attributes:
      kind: ``"exact"``; ``"lower bound"`` on the log-likelihood (so an upper bound on nats and bits/dim); ``"not a
        bound"`` for noise that leaves the bins of the data; ``"no likelihood"`` for a model without one; or
        ``"unlabelled"`` for a model that does not say.
      num_samples: importance samples ``K`` behind the bound; 1 is the plain one-sample bound, 0 if exact.
      source: where the bound comes from, e.g. ``"uniform dequantization"``, or what an exact likelihood is made of.
    """

    kind: Literal["exact", "lower bound", "not a bound", "no likelihood", "unlabelled"] = "exact"
    num_samples: int = 0
    source: str = ""

    @property
    def is_noisy(self) -> bool:
        """Whether the value is an estimate that draws noise, so that it needs a seed."""
        return self.kind in ("lower bound", "not a bound")

    def __str__(self) -> str:
        """E.g. ``exact`` or ``importance-weighted bound, K=64 (uniform dequantization)``."""
        if self.kind == "not a bound":
            return f"not a bound ({self.source})"
        if self.kind != "lower bound":
            return f"{self.kind} ({self.source})" if self.source else self.kind
        if self.num_samples == 1:
            return f"one-sample bound ({self.source})"
        return f"importance-weighted bound, K={self.num_samples} ({self.source})"


EXACT = Bound()


def bits_per_dim(nats: T, event_size: int) -> T:
    """``nats / (event_size * ln 2)``: negative log-likelihood of one event in bits a dimension.

    For discrete data on the integer grid, with ``log P(y) >= log p(y + u)``, no further constant belongs here: any
    rescaling of the data is a layer of the flow and brings its own log-determinant.
    """
    return nats / (event_size * math.log(2.0))
