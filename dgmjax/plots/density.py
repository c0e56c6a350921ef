"""Pictures of a density over the plane beside data and samples."""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_POINTS = 5000
_PANEL = 3.125  # inches: 400 pixels, whole pixels for the default resolution
_COLOURS = "magma"
_DOTS = "#3b528b"
_LEGEND_COLUMNS, _LEGEND_ROW = 10, 0.25  # and inches
_MAX_LEGEND = 40


def density_2d(
    log_prob: PlaneDensity | None,
    path: str | os.PathLike[str],
    *,
    data: ArrayLike,
    samples: ArrayLike,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    true_log_prob: PlaneDensity | None = None,
    resolution: int = 200,
    classes: tuple[ArrayLike, ArrayLike] | None = None,
    class_names: Sequence[str] | None = None,
) -> pathlib.Path:
    """Write panels side by side: data, samples, ``exp(log_prob)`` and ``exp(true_log_prob)``.

    All panels share their axes and the densities one colour scale. The scale ends at the highest
    density, but spikes over twice the 99.8 % quantile of the picture are cut (the colour bar then
    ends in an arrow), so that they do not darken the rest. NaN is left white. At most 5,000 points
    of each set are drawn, evenly strided.

    Args:
        log_prob: The learned density, ``[n, 2] -> [n]``, traceable by ``jit``. It is evaluated
            4,096 points at a time, in the dtype of ``samples``. None for a model without one.
        path: Where to write, ending in ``.png``; missing folders are made.
        data: ``[n, 2]``.
        samples: ``[m, 2]``, drawn from the learned density.
        title: A line above the panels.
        limits: ``(low, high)`` of both axes; by default a square about the bulk of ``data``.
        true_log_prob: The density ``data`` came from, where it is known.
        resolution: Points of the grid along each axis.
        classes: Classes ``0, 1, ...`` of the data, ``[n]``, and of the samples, ``[m]``: points get
            the colour of their class, which the legend below names (of 40 classes at most).
        class_names: Names of the classes; default their numbers.

    Returns:
        ``path``.

    Raises:
        ValueError: If a shape, ``limits``, ``resolution`` or the name of the file is not as above.
        ImportError: If matplotlib is not installed.
    """
    clouds = {"data": _points(data, "data"), "samples": _points(samples, "samples")}
    window = picture_window(clouds["data"], limits)
    if resolution < 2:
        raise ValueError(f"density_2d: expected resolution >= 2 points per axis, got {resolution}.")
    given = {"learned density": log_prob, "true density": true_log_prob}
    functions = {name: function for name, function in given.items() if function is not None}
    points_of = _classes(classes, clouds)
    shown = sorted({int(label) for labels in points_of.values() for label in labels})
    grid = jnp.asarray(picture_grid(window, resolution), jnp.asarray(samples).dtype)
    densities = {name: density_on(function, grid, name) for name, function in functions.items()}
    # 1 for a picture of no mass.
    top = max(map(robust_maximum, densities.values()), default=0.0) or 1.0

    count = len(clouds) + len(densities)
    legend = shown if len(shown) <= _MAX_LEGEND else []
    figure, panels = _panels(count, title, below=_LEGEND_ROW * -(-len(legend) // _LEGEND_COLUMNS))
    for axes, (name, cloud) in zip(panels, clouds.items(), strict=False):
        _scatter(axes, cloud, points_of.get(name), len(shown) and shown[-1] + 1)
        _dress(axes, f"{name} ({len(cloud):,})", window)
    for axes, (name, density) in zip(panels[len(clouds) :], densities.items(), strict=True):
        image = axes.imshow(
            np.ma.masked_where(np.isnan(density), density).reshape(resolution, resolution),
            extent=(*window[0], *window[1]),
            origin="lower",
            cmap=_COLOURS,
            vmin=0,
            vmax=top,
            interpolation="nearest",
        )
        _dress(axes, name, window)
    if legend:
        _name_classes(figure, legend, shown[-1] + 1, class_names)
    if not densities:
        return save_figure(figure, path)
    clipped = any((density > top).any() for density in densities.values())
    bar = figure.colorbar(
        image,
        cax=panels[-1].inset_axes((1.04, 0, 0.045, 1)),
        extend="max" if clipped else "neither",
        extendfrac=0.03,
    )
    bar.set_label("density per unit area", color=INK, size=9)
    bar.ax.tick_params(labelsize=8, color=INK, labelcolor=INK)
    bar.outline.set_visible(False)
    return save_figure(figure, path)


def _panels(count: int, title: str | None, *, below: float = 0.0) -> tuple["Figure", list["Axes"]]:
    """A row of square axes, placed in inches: automatic layouts leave unequal panels and gaps."""
    left, gap, right, bottom = 0.45, 0.2, 0.95, 0.35 + below
    top = 0.35 if title is None else 0.7
    width = left + count * _PANEL + (count - 1) * gap + right
    height = bottom + _PANEL + top
    figure = new_figure(width, height)
    panels = []
    for index in range(count):
        x = left + index * (_PANEL + gap)
        panels.append(
            figure.add_axes((x / width, bottom / height, _PANEL / width, _PANEL / height))
        )
        panels[-1].tick_params(labelleft=index == 0)
    if title is not None:
        figure.text(0.5, 1 - 0.25 / height, title, size=12, color=INK, ha="center", va="center")
    return figure, panels


def _points(values: ArrayLike, name: str) -> np.ndarray:
    points = np.asarray(values)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            f"density_2d: expected {name} of shape [n, 2] with n > 0, got {points.shape}."
        )
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise ValueError(f"density_2d: expected {name} of a floating dtype, got {points.dtype}.")
    return points.astype(np.float64)


def _classes(
    classes: tuple[ArrayLike, ArrayLike] | None, clouds: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Classes by the name of the cloud; none if the points have none."""
    if classes is None:
        return {}
    found = {}
    for (name, cloud), labels in zip(clouds.items(), classes, strict=True):
        found[name] = np.asarray(labels)
        integers = np.issubdtype(found[name].dtype, np.integer)
        if found[name].shape != cloud.shape[:1] or not integers or found[name].min() < 0:
            raise ValueError(
                f"density_2d: expected classes 0, 1, ... of {name}, {len(cloud)} integers, got "
                f"{found[name].dtype} of shape {found[name].shape}."
            )
    return found


def _class_colours(count: int) -> np.ndarray:
    """``[count, 4]``."""
    import matplotlib

    if count <= 10:
        return matplotlib.colormaps["tab10"](np.arange(count))
    return matplotlib.colormaps["turbo"](np.arange(count) / (count - 1))


def _name_classes(
    figure: "Figure", shown: list[int], count: int, names: Sequence[str] | None
) -> None:
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour)
        for colour in _class_colours(count)[shown]
    ]
    written = [str(index) if names is None else names[index] for index in shown]
    columns = min(len(shown), _LEGEND_COLUMNS)
    style = {"frameon": False, "labelcolor": INK, "fontsize": 8, "handletextpad": 0.1}
    figure.legend(dots, written, loc="lower center", ncols=columns, **style)


def _scatter(axes: "Axes", points: np.ndarray, classes: np.ndarray | None, count: int) -> None:
    every = slice(None, None, -(-len(points) // _MAX_POINTS))
    shown = points[every]
    colours = _DOTS if classes is None else _class_colours(count)[classes[every]]
    # Fewer points, larger dots: the ink stays about the same.
    size = float(np.clip(10_000 / len(shown), 2, 14))
    axes.scatter(shown[:, 0], shown[:, 1], s=size, c=colours, alpha=0.5, linewidths=0)


def _dress(axes: "Axes", name: str, window: np.ndarray) -> None:
    axes.set_title(name, size=10, color=INK)
    axes.set_xlim(*window[0])
    axes.set_ylim(*window[1])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8, color=INK, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color("#b0b0b0")
