"""Pictures of a density over the plane beside data and samples."""

import os
import pathlib
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.plots._canvas import INK, new_figure, save_figure
from dgmjax.plots._plane import LogProb, density_on, picture_grid, picture_window, robust_maximum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_POINTS = 5000
_PANEL = 3.125  # inches: 400 pixels, whole pixels for the default resolution
_COLOURS = "magma"


def density_2d(
    log_prob: LogProb,
    path: str | os.PathLike[str],
    *,
    data: ArrayLike,
    samples: ArrayLike,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    true_log_prob: LogProb | None = None,
    resolution: int = 200,
) -> pathlib.Path:
    """Write panels side by side: data, samples, ``exp(log_prob)`` and ``exp(true_log_prob)``.

    All panels share their axes and the densities one colour scale. The scale ends at the highest
    density, but spikes over twice the 99.8 % quantile of the picture are cut (the colour bar then
    ends in an arrow), so that they do not darken the rest. NaN is left white. At most 5,000 points
    of each set are drawn, evenly strided.

    Args:
        log_prob: The learned density, ``[n, 2] -> [n]``, traceable by ``jit``. It is evaluated
            4,096 points at a time, in the dtype of ``samples``.
        path: Where to write, ending in ``.png``; missing folders are made.
        data: ``[n, 2]``.
        samples: ``[m, 2]``, drawn from the learned density.
        title: A line above the panels.
        limits: ``(low, high)`` of both axes; by default a square about the bulk of ``data``.
        true_log_prob: The density ``data`` came from, where it is known.
        resolution: Points of the grid along each axis.

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
    functions = {"learned density": log_prob}
    if true_log_prob is not None:
        functions["true density"] = true_log_prob
    grid = jnp.asarray(picture_grid(window, resolution), jnp.asarray(samples).dtype)
    densities = {name: density_on(function, grid, name) for name, function in functions.items()}
    top = max(map(robust_maximum, densities.values())) or 1.0  # 1 for a picture of no mass

    count = len(clouds) + len(densities)
    figure, panels = _panels(count, title)
    for axes, (name, cloud) in zip(panels, clouds.items(), strict=False):
        _scatter(axes, cloud)
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


def _panels(count: int, title: str | None) -> tuple["Figure", list["Axes"]]:
    """A row of square axes, placed in inches: automatic layouts leave unequal panels and gaps."""
    left, gap, right, bottom, top = 0.45, 0.2, 0.95, 0.35, 0.35 if title is None else 0.7
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


def _scatter(axes: "Axes", points: np.ndarray) -> None:
    shown = points[:: -(-len(points) // _MAX_POINTS)]
    # Fewer points, larger dots: the ink stays about the same.
    size = float(np.clip(10_000 / len(shown), 2, 14))
    axes.scatter(shown[:, 0], shown[:, 1], s=size, c="#3b528b", alpha=0.5, linewidths=0)


def _dress(axes: "Axes", name: str, window: np.ndarray) -> None:
    axes.set_title(name, size=10, color=INK)
    axes.set_xlim(*window[0])
    axes.set_ylim(*window[1])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8, color=INK, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color("#b0b0b0")
