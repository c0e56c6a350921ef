"""Grids of images, pixel for pixel."""

import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from dgmjax.plots.canvas import DPI, INK, new_figure, save_figure

_TARGET = 800  # pixels on the longer side, which the default scale aims at
_GAP_COLOUR = 64
_NAN_COLOUR = (255, 0, 0)
_TITLE_POINTS = 12
_LABEL_POINTS = 9
_LABEL_HEIGHT = 20  # pixels that a label needs


def image_grid(
    images: ArrayLike,
    path: str | os.PathLike[str],
    *,
    columns: int | None = None,
    row_labels: Sequence[str] | None = None,
    maximum: float | None = None,
    title: str | None = None,
    scale: int | None = None,
) -> pathlib.Path:
    """Write images as one grid, row by row; every input pixel is a square of ``scale`` pixels.

    A pixel of value ``v`` is drawn with brightness ``round(255 clip(v / maximum, 0, 1))``: 0 is
    black, ``maximum`` white. NaN is drawn red. Images are separated and framed by ``scale // 4``
    (at least 1) pixels of dark grey, which also fill the places left over in the last row.

    Args:
        images: ``[n, h, w]`` or ``[n, h, w, c]`` with c = 1 (grey) or 3 (RGB).
        path: Where to write, ending in ``.png``; missing folders are made.
        columns: Images in a row; ``ceil(sqrt(n))`` by default, with ``row_labels`` all of a name.
        row_labels: Names, written to the left of rows, that images have in turn: with three names
            image 3 is the second of the first one. A name has as many rows as ``columns`` demands.
        maximum: The value drawn white; by default 255 for integers and 1 for floats and booleans.
        title: A line above the grid.
        scale: Size of a pixel; by default such that the grid is about 800 pixels long, and rows
            are as high as their labels.

    Returns:
        ``path``.

    Raises:
        ValueError: If the shape of ``images``, ``columns``, ``row_labels``, ``maximum``, ``scale``
            or the name of the file is not as above.
        ImportError: If matplotlib is not installed.
    """
    array = _as_rgb(images, maximum)
    count, height, width, _ = array.shape
    names = list(row_labels or [])
    of_a_name = math.ceil(count / len(names)) if names else count
    if columns is None:
        columns = of_a_name if names else math.ceil(math.sqrt(count))
    if columns < 1:
        raise ValueError(f"image_grid: expected columns >= 1, got {columns}.")
    rows_of_a_name = math.ceil(of_a_name / columns)
    rows = rows_of_a_name * max(len(names), 1)
    if scale is None:
        least = math.ceil(_LABEL_HEIGHT / height) if names else 1
        scale = max(least, round(_TARGET / max(rows * height, columns * width)))
    if scale < 1:
        raise ValueError(f"image_grid: expected scale >= 1 (pixels per pixel), got {scale}.")

    gap = max(1, scale // 4)
    tiles = array.repeat(scale, axis=1).repeat(scale, axis=2)
    step_y, step_x = height * scale + gap, width * scale + gap
    grid = np.full((rows * step_y + gap, columns * step_x + gap, 3), _GAP_COLOUR, np.uint8)
    for index, tile in enumerate(tiles):
        turn, name = divmod(index, max(len(names), 1))
        row, column = name * rows_of_a_name + turn // columns, turn % columns
        top, left = gap + row * step_y, gap + column * step_x
        grid[top : top + height * scale, left : left + width * scale] = tile
    middles = [gap + row * step_y + height * scale / 2 for row in range(rows)]
    labels = [name for name in names for _ in range(rows_of_a_name)]
    return _save_pixels(grid, path, title, labels, middles)


def _as_rgb(images: ArrayLike, maximum: float | None) -> np.ndarray:
    """``[n, h, w, 3]`` uint8."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise ValueError(
            "image_grid: expected images of shape [n, h, w] or [n, h, w, c] with c = 1 or 3 and "
            f"n > 0, got {np.shape(images)}; channels go last, and one image is images[None]."
        )
    if maximum is None:
        maximum = 255 if np.issubdtype(array.dtype, np.integer) else 1
    if not maximum > 0:
        raise ValueError(
            f"image_grid: expected maximum > 0 (the value drawn white), got {maximum}."
        )
    array = np.broadcast_to(array.astype(np.float64), (*array.shape[:-1], 3))
    broken = np.isnan(array).any(axis=-1, keepdims=True)
    levels = np.rint(255 * np.clip(np.where(broken, 0, array) / maximum, 0, 1))
    return np.where(broken, _NAN_COLOUR, levels).astype(np.uint8)


def _save_pixels(
    grid: np.ndarray,
    path: str | os.PathLike[str],
    title: str | None,
    names: Sequence[str],
    middles: Sequence[float],
) -> pathlib.Path:
    """The grid pixel for pixel, with a line above it and, at the ``middles`` of rows, their names to its left."""
    height, width, _ = grid.shape
    figure = new_figure(width / DPI, height / DPI)
    labels = [
        figure.text(
            0, 0, name, size=_LABEL_POINTS, color=INK, ha="right", va="center", parse_math=False
        )
        for name in names
    ]
    margin = math.ceil(0.4 * _LABEL_HEIGHT)
    side = max(
        (math.ceil(label.get_window_extent().width) for label in labels), default=-2 * margin
    )
    side += 2 * margin
    # A long title widens the canvas; it is never cut or shrunk.
    canvas_width, band = side + width, 0
    if title is not None:
        text = figure.text(0.5, 0, title, size=_TITLE_POINTS, color=INK, ha="center", va="center")
        extent = text.get_window_extent()
        band = math.ceil(1.8 * extent.height)
        canvas_width = max(canvas_width, math.ceil(extent.width) + band)
    canvas_height = height + band
    if title is not None:
        text.set_y(1 - band / 2 / canvas_height)
    figure.set_size_inches(canvas_width / DPI, canvas_height / DPI)
    left = (canvas_width - side - width) // 2 + side
    for label, middle in zip(labels, middles, strict=False):
        label.set_position(((left - margin) / canvas_width, (height - middle) / canvas_height))
    figure.figimage(grid, xo=left, yo=0)
    return save_figure(figure, path)
