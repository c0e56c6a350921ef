"""Several curves in several panels, to compare runs."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dgmjax.plots.canvas import GRID, INK, new_figure, save_figure

_COLOURS = ("#c8500a", "#7aa6d6", "#2e7d4f", "#7b4fa3", "#9a7b1f", "#333333")
_WIDTH, _HEIGHT = 4.2, 3.6  # inches of a panel

Curve = tuple[Sequence[float], Sequence[float]]


def curve_panels(
    panels: Mapping[str, Mapping[str, Curve]],
    path: str | os.PathLike[str],
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
) -> pathlib.Path:
    """Write one panel for each entry of ``panels``, side by side with one vertical axis, and in it one line a curve.

    Args:
        panels: Title of a panel to its curves, each a name and ``(x, y)``. A name has the same colour in all panels.
            Values that are not finite break a curve.
        path: Where to write, ending in ``.png``.
        xlabel: Name of the horizontal axes.
        ylabel: Name of the vertical axis.
        title: A line above all.

    Returns:
        ``path``.

    Raises:
        ValueError: If there is nothing to draw, or the two sides of a curve differ in length.
        ImportError: If matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    if not names:
        raise ValueError("curve_panels: expected at least one panel with a curve, got none.")
    figure = new_figure(_WIDTH * len(panels) + 0.4, _HEIGHT + 0.6)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    lines = {}
    for axes, (heading, curves) in zip(grid[0], panels.items(), strict=True):
        for name, (x, y) in curves.items():
            if len(x) != len(y):
                raise ValueError(
                    f"curve_panels: curve {name!r} of {heading!r} has {len(x)} places and {len(y)} values."
                )
            values = np.asarray(y, float)
            (lines[name],) = axes.plot(
                x,
                np.where(np.isfinite(values), values, np.nan),
                color=_COLOURS[names.index(name) % len(_COLOURS)],
                linewidth=1.7,
                marker="o" if len(x) <= 40 else None,
                markersize=3.5,
            )
        axes.set_title(heading, color=INK, size=11)
        axes.set_xlabel(xlabel, color=INK)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(color=INK, labelcolor=INK, labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
    grid[0][0].set_ylabel(ylabel, color=INK)
    figure.legend(
        [lines[name] for name in names],
        names,
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    if title is not None:
        figure.suptitle(title, color=INK, size=12)
    return save_figure(figure, path)
