"""The canvas of every picture: a figure without pyplot, two colours, a file written in one piece."""

import os
import pathlib
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 128
"""Dots per inch. A power of two: pixels / DPI * DPI is then exact, so a figure has exactly the pixels asked for."""
INK = "#333333"
"""The colour of words and axes."""
GRID = "#e4e4e4"
"""The colour of lines of a grid."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty white figure of ``width`` x ``height`` inches at `DPI`, drawn by Agg.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "dgmjax.plots draws with matplotlib, which is not installed; "
            "run: pip install 'dgmjax[experiments]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)  # registers itself as figure.canvas
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> pathlib.Path:
    """Write a PNG at ``path``, making its folder; a reader sees the old file or the whole new one.

    Raises:
        ValueError: If ``path`` does not end in ``.png``.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"dgmjax.plots writes PNG files: expected a path ending in .png, got {path}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=DPI)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
