"""Means and standard deviations at any scale (squares of 1e-30 and 1e30 are none of float32), and their errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def moments(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log standard deviation over the first axis, in units of the data's own extent.

    Deviations are taken from the largest value first, so a mean of 1e8 costs none of the digits that the data have.

    Args:
      rows: ``[n, ...]``, floating point, ``n`` at least 1.

    Returns:
      The mean and the natural log of the standard deviation (divided by ``n``), each ``[...]``; ``-inf`` for a column
      that does not vary.
    """
    top = jax.lax.stop_gradient(rows.max(0))
    # Halves, since the extent of numbers that float32 holds may be one that it does not.
    below = 0.5 * rows - jnp.broadcast_to(0.5 * top, rows.shape)
    unit = jax.lax.stop_gradient(jnp.abs(below).max(0))
    varies = unit > 0
    unit = jnp.where(varies, unit, jnp.ones_like(unit))
    scaled = below / jnp.broadcast_to(unit, rows.shape)
    centre = scaled.mean(0)
    variance = ((scaled - jnp.broadcast_to(centre, rows.shape)) ** 2).mean(0)
    log_std = 0.5 * jnp.log(jnp.where(varies, variance, 1.0)) + jnp.log(unit) + math.log(2.0)
    return top + unit * centre + unit * centre, jnp.where(varies, log_std, -jnp.inf)


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean of ``values``, ``std / sqrt(n)``; NaN for fewer than two, which have no spread."""
    values = np.asarray(values, np.float64)
    return float(values.std() / math.sqrt(values.size)) if values.size > 1 else math.nan
