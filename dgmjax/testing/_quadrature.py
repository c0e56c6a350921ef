"""Densities on a grid: exact integrals to hold samples against."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from dgmjax.testing._report import as_float

POINTS = {1: 2**14, 2: 2**9}  # a side, by dimension: at most 2**18 evaluations
CHUNK = 2**14
_MARGIN = 1.0  # of the sample range, added at both ends


@dataclasses.dataclass(frozen=True)
class Grid:
    """Cells of the box [low, high] in one or two dimensions, with log-densities at midpoints.

    The midpoint rule converges faster than any power of the cell for smooth densities that vanish
    at the limits, and never evaluates the limits, where densities of bounded support may be
    infinite.

    Attributes:
        edges: cell edges of each coordinate, [dim] arrays of [points + 1].
        points: midpoints, [cells, dim].
        log_density: log p at the midpoints, in nats, [cells].
    """

    edges: tuple[np.ndarray, ...]
    points: np.ndarray
    log_density: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells a coordinate."""
        return tuple(len(edge) - 1 for edge in self.edges)

    @property
    def widths(self) -> np.ndarray:
        """Sides of a cell, [dim]."""
        return np.array([edge[1] - edge[0] for edge in self.edges])

    @property
    def mass(self) -> np.ndarray:
        """P times the cell volume, [cells]; sums to the integral."""
        return np.exp(self.log_density) * np.prod(self.widths)

    def coarse_integral(self) -> float:
        """The integral from every second point of each coordinate: shows what the grid resolves."""
        half = self.mass.reshape(self.shape)[tuple(slice(None, None, 2) for _ in self.shape)]
        return float(half.sum() * 2 ** len(self.shape))

    def boundary_mass(self) -> float:
        """Largest density on the outermost cells, relative to the largest anywhere."""
        mass = self.mass.reshape(self.shape)
        sides = [np.take(mass, at, axis).max() for axis in range(len(self.shape)) for at in (0, -1)]
        return float(max(sides) / max(mass.max(), np.finfo(float).tiny))

    def cdf(self, coordinate: int) -> np.ndarray:
        """Marginal distribution function at ``edges[coordinate]``, of p divided by its integral."""
        other = tuple(i for i in range(len(self.shape)) if i != coordinate)
        marginal = self.mass.reshape(self.shape).sum(axis=other)
        return np.concatenate([[0.0], np.cumsum(marginal)]) / marginal.sum()

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Expectation under p divided by its integral of values [cells, ...] at the midpoints."""
        mass = self.mass
        # log p = -inf where p = 0, and p log p -> 0 there.
        weighted = np.where(mass > 0, values.T, 0.0) * mass
        return weighted.T.sum(axis=0) / mass.sum()


def default_limits(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box around samples [n, dim], widened by their range at each end."""
    low, high = samples.min(axis=0), samples.max(axis=0)
    margin = _MARGIN * np.maximum(high - low, 1e-3 * (1 + np.abs(low)))
    return low - margin, high + margin


def evaluate(log_prob: Callable[[np.ndarray], Any], low: np.ndarray, high: np.ndarray) -> Grid:
    """Evaluates ``log_prob``, from [n, dim] to [n], on a grid over the box.

    All calls have one shape, n = ``CHUNK``, so that a jitted function compiles once.
    """
    side = POINTS[len(low)]
    edges = tuple(np.linspace(a, b, side + 1) for a, b in zip(low, high, strict=True))
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    points = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(low))
    chunks = points.reshape(-1, CHUNK, len(low))
    log_density = np.concatenate([as_float(log_prob(chunk)) for chunk in chunks])
    return Grid(edges, points, log_density)
