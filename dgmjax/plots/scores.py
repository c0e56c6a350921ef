"""Two histograms of one score."""

import os
import pathlib

import numpy as np
from jax.typing import ArrayLike

from dgmjax.plots.canvas import GRID, INK, new_figure, save_figure

_COLOURS = ("#4f86bf", "#c8500a")
_BINS = 60
_TAIL = 0.01  # quantiles between which the bulk of a set lies
_REACH = 0.5  # the part of their distance that scores may lie beyond them and still set the axis
_WIDTH, _HEIGHT = 7.0, 4.0  # inches


def score_histogram(
    inside: ArrayLike,
    outside: ArrayLike,
    path: str | os.PathLike[str],
    *,
    labels: tuple[str, str] = ("inside", "outside"),
    xlabel: str = "score",
    title: str | None = None,
) -> pathlib.Path:
    """Write overlapping histograms of two sets of scores, each as fractions of its own set.

    Both have the same 60 bins. Scores that lie farther than half of the distance between the 1 %
    and 99 % quantiles of their set outside these do not set the axis, so that single extremes do
    not squeeze the rest; the legend counts what is off scale.

    Args:
        inside: Scores ``[n]``, e.g. of the events a model was made for.
        outside: Scores ``[m]``, of others.
        path: Where to write, ending in ``.png``; missing folders are made.
        labels: Names of the two sets.
        xlabel: Name and unit of the score.
        title: A line above the axes.

    Returns:
        ``path``.

    Raises:
        ValueError: If a set is empty, not a vector or not finite, or the file does not end in
            ``.png``.
        ImportError: If matplotlib is not installed.
    """
    sets = [_scores(inside, "inside"), _scores(outside, "outside")]
    low, high = _limits(sets)
    edges = np.linspace(low, high, _BINS + 1)

    figure = new_figure(_WIDTH, _HEIGHT)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    axes = figure.subplots()
    for scores, label, colour in zip(sets, labels, _COLOURS, strict=True):
        beyond = int(np.sum((scores < low) | (scores > high)))
        notes = f"{len(scores):,}" + (f", {beyond:,} off scale" if beyond else "")
        fractions = np.histogram(scores, edges)[0] / len(scores)
        axes.stairs(
            fractions,
            edges,
            fill=True,
            facecolor=(colour, 0.4),
            edgecolor=colour,
            linewidth=1.4,
            label=f"{label} ({notes})",
        )
    margin = 0.02 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel("fraction of the set in a bin", color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color=INK, labelcolor=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    if title is not None:
        axes.set_title(title, color=INK, size=12, wrap=True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return save_figure(figure, path)


def _limits(sets: list[np.ndarray]) -> tuple[float, float]:
    """The extremes of the scores that are not too far out."""
    inliers = []
    for scores in sets:
        lower, upper = np.quantile(scores, (_TAIL, 1 - _TAIL))
        reach = _REACH * (upper - lower)
        inliers.append(scores[(scores >= lower - reach) & (scores <= upper + reach)])
    drawn = np.concatenate(inliers)
    low, high = float(drawn.min()), float(drawn.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _scores(values: ArrayLike, name: str) -> np.ndarray:
    scores = np.asarray(values).astype(np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(
            f"score_histogram: expected {name} scores of shape [n] with n > 0, got {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"score_histogram: {int((~np.isfinite(scores)).sum())} of {scores.size} {name} scores "
            "are NaN or infinite; drop them first."
        )
    return scores
