"""Rank histograms of posteriors, and their expected coverage."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dgmjax.plots.canvas import GRID, INK, new_figure, save_figure

_COLOUR, _BAND = "#4f86bf", "#c9c9c9"
_SIZE = 2.6  # inches a panel
_COLUMNS = 4
_SHARE = 0.99  # of exact posteriors whose counts are in the band


class Ranks(Protocol):
    """The result of `dgmjax.analysis.calibration`, as far as it is drawn."""

    @property
    def ranks(self) -> np.ndarray:
        """Ranks of each element of the parameters, ``[n, d]``."""

    @property
    def density_ranks(self) -> np.ndarray:
        """Ranks of the densities, ``[n]``."""

    def histogram(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts in bins, and those that are expected."""

    def expected_coverage(self, levels: np.ndarray) -> np.ndarray:
        """Shares of truths in regions of these masses."""


def calibration_panels(
    calibration: Ranks,
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> pathlib.Path:
    """Write a rank histogram for each element of the parameters, and the expected coverage.

    A flat histogram within the grey band, where 99 % of the counts of an exact posterior are, is as
    it should be. A valley is a posterior that is too narrow, a hill one that is too wide, a slope one
    that is biased. Coverage below the diagonal is overconfident.

    Args:
        calibration: What `dgmjax.analysis.calibration` returned.
        path: Where to write, ending in ``.png``; missing folders are made.
        names: Names of the elements.
        title: A line above the panels.

    Returns:
        ``path``.

    Raises:
        ValueError: If there are not as many names as elements, or the file does not end in ``.png``.
        ImportError: If matplotlib is not installed.
    """
    size = calibration.ranks.shape[1]
    names = [f"element {i}" for i in range(size)] if names is None else list(names)
    if len(names) != size:
        raise ValueError(f"calibration_panels: {size} elements, but {len(names)} names.")
    columns = min(size + 1, _COLUMNS)
    rows = -(-(size + 1) // columns)
    figure = new_figure(_SIZE * columns + 0.4, _SIZE * rows + 0.3)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes, ranks, name in zip(panels, calibration.ranks.T, names, strict=False):
        _histogram(axes, *calibration.histogram(ranks))
        axes.set_xlabel(f"rank of {name}", color=INK)
    _coverage(panels[size], calibration)
    for axes in panels[: size + 1]:
        axes.tick_params(color=INK, labelcolor=INK, labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
    for axes in panels[size + 1 :]:
        axes.set_visible(False)
    if title is not None:
        figure.suptitle(title, color=INK, size=12)
    return save_figure(figure, path)


def _band(total: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts between which those of an exact posterior are, of ``total`` observations."""
    import scipy.stats  # slow to import, and for this alone

    return scipy.stats.binom.interval(_SHARE, total, shares)


def _histogram(axes: Any, counts: np.ndarray, expected: np.ndarray) -> None:
    total = int(counts.sum())
    edges = np.linspace(0, 1, len(counts) + 1)
    low, high = _band(total, expected / total)
    axes.stairs(high, edges, baseline=low, fill=True, facecolor=_BAND, alpha=0.7)
    axes.stairs(counts, edges, color=_COLOUR, linewidth=1.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.15 * max(counts.max(), high.max()))
    axes.set_ylabel("observations", color=INK)


def _coverage(axes: Any, calibration: Ranks) -> None:
    levels = np.linspace(0, 1, 101)
    total = len(calibration.density_ranks)
    low, high = _band(total, levels)
    axes.fill_between(levels, low / total, high / total, color=_BAND, alpha=0.7, linewidth=0)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(levels, calibration.expected_coverage(levels), color=_COLOUR, linewidth=1.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("mass of the region", color=INK)
    axes.set_ylabel("share of truths inside", color=INK)
