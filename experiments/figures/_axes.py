"""How the axes of all figures look: as those of `dgmjax.plots`."""

from typing import Any

from dgmjax.plots.canvas import GRID, INK

COLOURS = ("#c8500a", "#4f86bf", "#2e7d4f", "#7b4fa3", "#9a7b1f")


def dress(axes: Any, *, xlabel: str, ylabel: str | None, title: str | None = None) -> None:
    """Names, grid and spines of axes of curves."""
    if title is not None:
        axes.set_title(title, color=INK, size=10)
    axes.set_xlabel(xlabel, color=INK)
    if ylabel is not None:
        axes.set_ylabel(ylabel, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", color=INK, labelcolor=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
