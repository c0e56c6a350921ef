"""The distribution of the values of discrete data."""

import os

import numpy as np
from numpy.typing import ArrayLike

from dgmjax.plots.canvas import GRID, INK, new_figure, save_figure

_COLOUR, _END = "#4f86bf", "#c8500a"
_WIDTH, _HEIGHT = 7.0, 4.0  # inches


def pixel_histogram(
    values: ArrayLike,
    path: str | os.PathLike[str],
    *,
    num_levels: int,
    log: bool = False,
    title: str | None = None,
) -> np.ndarray:
    """Write how often integers take each of ``0 .. num_levels - 1``, as fractions that sum to 1.

    Both ends, where black and saturated pixels pile up, have a colour of their own, and a label.

    Args:
        values: Integers of any shape, e.g. all pixels of all images.
        path: Where to write, ending in ``.png``; missing folders are made.
        num_levels: Values an element can take.
        log: Logarithmic vertical axis, on which levels that never occur have no bar.
        title: A line above the axes.

    Returns:
        The fractions, ``[num_levels]``, float64.

    Raises:
        TypeError: If the values are not integers.
        ValueError: If there are none, or one lies outside ``0 .. num_levels - 1``.
        ImportError: If matplotlib is not installed.
    """
    integers = np.asarray(values)
    if not np.issubdtype(integers.dtype, np.integer):
        raise TypeError(
            f"pixel_histogram: expected integers, got {integers.dtype}; continuous values have no levels to count."
        )
    if not integers.size or integers.min() < 0 or integers.max() >= num_levels:
        got = f"{integers.min()} .. {integers.max()}" if integers.size else "none"
        raise ValueError(
            f"pixel_histogram: expected values in 0 .. {num_levels - 1} for num_levels={num_levels}, got {got}."
        )
    share = np.bincount(integers.ravel(), minlength=num_levels) / integers.size

    figure = new_figure(_WIDTH, _HEIGHT)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    axes = figure.subplots()
    ends = np.isin(np.arange(num_levels), (0, num_levels - 1))
    width = 0.86 if num_levels <= 64 else 1.0
    axes.bar(np.arange(num_levels), share, width, color=np.where(ends, _END, _COLOUR), log=log)
    axes.set_xlim(-0.5 - 0.02 * num_levels, num_levels - 0.5 + 0.02 * num_levels)
    axes.margins(y=0.14)  # room for the labels of the ends
    for level, side in ((0, "left"), (num_levels - 1, "right")):
        axes.annotate(
            f"{level}: {100 * share[level]:.2f} %",
            (level + (-0.5 if side == "left" else 0.5), share[level]),
            xytext=(0, 4),
            textcoords="offset points",
            ha=side,
            color=_END,
            size=9,
        )
    axes.set_xlabel(f"value, 0 .. {num_levels - 1}", color=INK)
    axes.set_ylabel("fraction of all values", color=INK)
    axes.grid(color=GRID, linewidth=0.8, axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(color=INK, labelcolor=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    if title is not None:
        axes.set_title(title, color=INK, size=12, wrap=True)
    save_figure(figure, path)
    return share
