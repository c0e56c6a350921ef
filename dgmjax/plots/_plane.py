"""A density over a window of the plane, evaluated on the cells of a picture."""

from collections.abc import Callable

import jax
import numpy as np

from dgmjax.numerics.rows import map_rows

PlaneDensity = Callable[[jax.Array], jax.Array]


def picture_window(data: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
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


def picture_grid(window: np.ndarray, resolution: int) -> np.ndarray:
    """Centres of the picture's cells, ``[resolution**2, 2]``, the row of lowest y first."""
    fractions = (np.arange(resolution) + 0.5) / resolution
    x, y = (low + (high - low) * fractions for low, high in window)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def density_on(log_prob: PlaneDensity, grid: jax.Array, name: str) -> np.ndarray:
    """``exp(log_prob)`` at the points of the grid, ``[n]``."""
    compiled = jax.jit(log_prob)

    def values(points: jax.Array) -> jax.Array:
        found, size = compiled(points), len(points)
        if found.shape != (size,):
            raise ValueError(
                f"density_2d: expected the {name}'s log_prob to map [{size}, 2] to [{size}], "
                f"got {found.shape}; wrap a log_prob of one point in jax.vmap."
            )
        return found

    with np.errstate(over="ignore"):
        return np.exp(np.asarray(map_rows(values, grid, batch_size=4096), np.float64))


def robust_maximum(density: np.ndarray) -> float:
    values = density[np.isfinite(density)]
    if not values.size:
        return 0.0
    bulk, peak = np.quantile(values, 0.998), values.max()
    return float(peak if peak <= 2 * bulk else bulk)
