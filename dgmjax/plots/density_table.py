"""Many densities over the plane in one table of pictures."""

import os
import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.plots._plane import (
    PlaneDensity,
    density_on,
    picture_grid,
    picture_window,
    robust_maximum,
)
from dgmjax.plots.canvas import INK, new_figure, save_figure

_CELL, _GAP, _LEFT, _TOP = 1.5, 0.06, 0.95, 0.35  # inches


def density_table(
    rows: Mapping[str, Mapping[str, PlaneDensity]],
    path: str | os.PathLike[str],
    *,
    data: Mapping[str, ArrayLike],
    resolution: int = 150,
) -> pathlib.Path:
    """Write ``exp(log_prob)`` for every row and column, e.g. systems by data sets.

    A column has one window and one colour scale, those of its first row: put the true density there. Cells without a
    function stay white.

    Args:
        rows: ``{row: {column: log_prob}}``, each ``[n, 2] -> [n]``, float32, traceable by ``jit``.
        path: Where to write, ending in ``.png``.
        data: ``{column: [n, 2]}``; the window of a column holds the bulk of it. Its order is that of the columns.
        resolution: Points of a picture along each axis.

    Returns:
        ``path``.

    Raises:
        ValueError: If the name of the file does not end in ``.png``, or a function returns another shape.
        ImportError: If matplotlib is not installed.
    """
    columns = list(data)
    width = _LEFT + len(columns) * (_CELL + _GAP)
    height = _TOP + len(rows) * (_CELL + _GAP)
    figure = new_figure(width, height)
    for j, column in enumerate(columns):
        window = picture_window(np.asarray(data[column], np.float64), None)
        grid = jnp.asarray(picture_grid(window, resolution), jnp.float32)
        x = _LEFT + j * (_CELL + _GAP)
        figure.text(
            (x + _CELL / 2) / width, 1 - _TOP / 2 / height, column.replace("_", " "),
            size=9, color=INK, ha="center", va="center",
        )  # fmt: skip
        top = None
        for i, (row, functions) in enumerate(rows.items()):
            y = height - _TOP - (i + 1) * (_CELL + _GAP) + _GAP
            axes = figure.add_axes((x / width, y / height, _CELL / width, _CELL / height))
            axes.set_axis_off()
            if j == 0:
                figure.text(
                    (_LEFT - 0.1) / width, (y + _CELL / 2) / height, row,
                    size=9, color=INK, ha="right", va="center",
                )  # fmt: skip
            if column not in functions:
                continue
            density = density_on(functions[column], grid, f"{row}, {column}")
            top = top or robust_maximum(density) or 1.0
            axes.imshow(
                density.reshape(resolution, resolution),
                origin="lower",
                cmap="magma",
                vmin=0,
                vmax=top,
                interpolation="nearest",
            )
    return save_figure(figure, path)
