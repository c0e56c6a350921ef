"""Gaussianization by a histogram: an inverse-CDF flow with a piecewise-linear CDF and the normal quantile.

The data lie in ``[0, levels]``; a histogram gives bin ``b = floor(x)`` the probability ``mass[..., b]`` and spreads
it evenly, so the CDF ``F`` is piecewise linear, and ``z = Phi^-1(alpha + (1 - 2 alpha) F(x))`` is standard normal
if the histogram is right. Each element may have its own histogram.

Source: the inverse transform; Chen and Gopinath, 2000, *Gaussianization*; Papamakarios et al., 2021,
arXiv:1912.02762, section 2.2.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled

# Keeps the normal quantile finite where a dequantized value hits an end of the range exactly.
ALPHA = 1e-6


def histogram_mass(y: jax.Array, num_levels: int, *, pseudo_count: float) -> jax.Array:
    """Smoothed probability of every level of every element.

    ``mass[..., b] = (count of b + pseudo_count) / (n + num_levels * pseudo_count)``.

    Args:
      y: integers in ``0 .. num_levels - 1``, ``[n, *event]``.
      num_levels: number of bins.
      pseudo_count: positive; the weight of the uniform distribution, in observations per bin.

    Returns:
      ``[*event, num_levels]``, float32; sums to 1 over the last axis.
    """
    count = jnp.stack([(y == level).sum(0) for level in range(num_levels)], axis=-1)
    smoothed = count.astype(jnp.float32) + pseudo_count
    return smoothed / (y.shape[0] + num_levels * pseudo_count)


@compiled
def histogram_gaussianize_inverse(x: jax.Array, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``z = Phi^-1(alpha + (1 - 2 alpha) F(x))``, elementwise, data to latent.

    Args:
      x: data in ``[0, levels]``, ``[*batch, *event]``.
      mass: positive bin probabilities, ``[*event, levels]``, summing to 1 over the last axis.

    Returns:
      ``z`` and the elementwise log-derivative ``log((1 - 2 alpha) mass_b) - log phi(z)``, shapes of ``x``; ``-inf``
      beyond the ends of the continued lines, with the ``z`` of a number inside and zero gradients.
    """
    levels = mass.shape[-1]
    below, above = _tails(mass)
    # The last bin is closed, so that x = levels is inside; values outside continue the end bins' lines.
    index = jnp.clip(jnp.floor(x), 0, levels - 1).astype(jnp.int32)
    height, low, high = (_pick(table, index) for table in (mass, below, above))
    left, right = x - index.astype(x.dtype), (index + 1).astype(x.dtype) - x
    lower = ALPHA + (1.0 - 2.0 * ALPHA) * (low + left * height)
    # The upper tail is summed from above: 1 - lower would lose its digits in float32.
    upper = ALPHA + (1.0 - 2.0 * ALPHA) * (high + right * height)
    beyond = (lower <= 0) | (upper <= 0)
    is_lower = lower < 0.5
    # What is not taken is put at a half: it may lie outside.
    z_lower = ndtri(ends.at_least(jnp.where(is_lower, lower, 0.5), _least_tail(x.dtype)))
    z_upper = -ndtri(ends.at_least(jnp.where(is_lower, 0.5, upper), _least_tail(x.dtype)))
    z = jnp.where(is_lower, z_lower, z_upper)
    log_derivative = jnp.log((1.0 - 2.0 * ALPHA) * height) - norm.logpdf(z)
    return z, ends.outside(beyond, log_derivative)


@compiled
def histogram_gaussianize_forward(z: jax.Array, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x = F^-1((Phi(z) - alpha) / (1 - 2 alpha))``, the inverse of `histogram_gaussianize_inverse`.

    Latents beyond ``Phi^-1(alpha)`` (4.75 standard deviations) land outside ``[0, levels]`` on the continued line
    of the end bin, so the map stays a bijection. Further out, beyond 5 to 7 standard deviations in float32, they round
    to the last numbers inside of its image.

    Returns:
      ``x`` and the elementwise log-derivative ``log phi(z) - log((1 - 2 alpha) mass_b)``, shapes of ``z``.
    """
    below, above = _tails(mass)
    least = _least_tail(z.dtype)
    # Next to the upper end the numbers of x are as far apart as those of the levels.
    step = 2.0 * float(jnp.finfo(z.dtype).eps) * mass.shape[-1]
    least_upper = jnp.broadcast_to(jnp.maximum(least, step * mass[..., -1]), z.shape)
    lower = (jnp.maximum(ndtr(z), least) - ALPHA) / (1.0 - 2.0 * ALPHA)
    upper = (jnp.maximum(ndtr(-z), least_upper.astype(z.dtype)) - ALPHA) / (1.0 - 2.0 * ALPHA)
    use_lower = z < 0
    # Bin b holds the lower-tail probabilities [below_b, below_b + mass_b), and from above likewise.
    from_below = (lower[..., None] >= _lift(below[..., 1:], z.ndim)).sum(-1)
    from_above = (upper[..., None] <= _lift(above[..., :-1], z.ndim)).sum(-1)
    index = jnp.where(use_lower, from_below, from_above).astype(jnp.int32)
    height, low, high = (_pick(table, index) for table in (mass, below, above))
    from_left = index.astype(z.dtype) + (lower - low) / height
    from_right = (index + 1).astype(z.dtype) - (upper - high) / height
    x = jnp.where(use_lower, from_left, from_right)
    return x, norm.logpdf(z) - jnp.log((1.0 - 2.0 * ALPHA) * height)


def _least_tail(dtype: jnp.dtype) -> float:
    """The smallest probability beyond ``x`` that sums with ``ALPHA`` resolve."""
    return 16.0 * float(jnp.finfo(dtype).eps) * ALPHA


def _tails(mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Probability strictly below and strictly above every bin, each summed from its own end."""
    below = jnp.cumsum(mass, axis=-1) - mass
    above = jnp.flip(jnp.cumsum(jnp.flip(mass, -1), axis=-1), -1) - mass
    return below, above


def _lift(table: jax.Array, batched_ndim: int) -> jax.Array:
    """Leading axes of size 1, so that ``table[*event, levels]`` lines up with ``[*batch, *event, levels]``."""
    return table.reshape((1,) * (batched_ndim + 1 - table.ndim) + table.shape)


def _pick(table: jax.Array, index: jax.Array) -> jax.Array:
    """``table[*event, index]`` for ``index`` of shape ``[*batch, *event]``, without a copy of the table a batch row."""
    *event, levels = table.shape
    offset = levels * jnp.arange(math.prod(event), dtype=index.dtype).reshape(event)
    offset = jnp.broadcast_to(offset, index.shape)
    return jnp.take(table.reshape(-1), offset + index, axis=0)
