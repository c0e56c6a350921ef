"""Pictures of a density over the plane beside data and samples."""

import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.plots._canvas import INK, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHUNK = 4096
_MAX_POINTS = 5000
_PANEL = 3.125  # inches: 400 pixels, whole pixels for the default resolution
_COLOURS = "magma"

LogProb = Callable[[jax.Array], jax.Array]


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
    window = _window(clouds["data"], limits)
    if resolution < 2:
        raise ValueError(f"density_2d: expected resolution >= 2 points per axis, got {resolution}.")
    functions = {"learned density": log_prob}
    if true_log_prob is not None:
        functions["true density"] = true_log_prob
    grid = jnp.asarray(_grid(window, resolution), jnp.asarray(samples).dtype)
    densities = {name: _density(function, grid, name) for name, function in functions.items()}
    top = max(map(_robust_maximum, densities.values())) or 1.0  # 1 for a picture of no mass

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


def _window(data: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """``[[x_low, x_high], [y_low, y_high]]``."""
    if limits is not None:
        low, high = limits
        if not low < high:
            raise ValueError(f"density_2d: expected limits (low, high), low < high, got {limits}.")
        return np.array([[low, high], [low, high]], np.float64)
    # Quantiles, lest one outlier shrink the rest to a dot; the margin shows the tails.
    low, high = np.quantile(data[np.isfinite(data).all(axis=1)], (0.002, 0.998), axis=0)
    half = max(0.6 * float(np.max(high - low)), 1e-3)
    return (low + high)[:, None] / 2 + np.array([[-half, half]])


def _grid(window: np.ndarray, resolution: int) -> np.ndarray:
    """Centres of the picture's cells, ``[resolution**2, 2]``, the row of lowest y first."""
    fractions = (np.arange(resolution) + 0.5) / resolution
    x, y = (low + (high - low) * fractions for low, high in window)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _density(log_prob: LogProb, grid: jax.Array, name: str) -> np.ndarray:
    """``exp(log_prob)`` at the points of the grid, ``[n]``."""
    compiled = jax.jit(log_prob)
    count = len(grid)
    size = min(_CHUNK, count)
    # The last chunk is padded to the size of the others: one shape, one compilation.
    padded = jnp.concatenate([grid, jnp.tile(grid[-1:], (-count % size, 1))])
    parts = [compiled(chunk) for chunk in padded.reshape(-1, size, 2)]
    if parts[0].shape != (size,):
        raise ValueError(
            f"density_2d: expected the {name}'s log_prob to map [{size}, 2] to [{size}], "
            f"got {parts[0].shape}; wrap a log_prob of one point in jax.vmap."
        )
    with np.errstate(over="ignore"):
        return np.exp(np.concatenate(parts).astype(np.float64))[:count]


def _robust_maximum(density: np.ndarray) -> float:
    values = density[np.isfinite(density)]
    if not values.size:
        return 0.0
    bulk, peak = np.quantile(values, 0.998), values.max()
    return float(peak if peak <= 2 * bulk else bulk)


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
