"""Probabilities of integer levels from a continuous distribution function, with folded edges.

``P(y) = F(y + 1/2) - F(y - 1/2)`` for ``y = 0 .. L-1``, where the first level takes the whole lower tail,
``P(0) = F(1/2)``, and the last the whole upper tail, ``P(L-1) = 1 - F(L - 3/2)``, so the masses sum to 1.

Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517, equation 2.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid, log_softmax

from dgmjax.numerics import ends
from dgmjax.numerics.ends import log_sum_exp
from dgmjax.numerics.tails import log_difference

_MIN_LOG_SCALE = -50.0


def discretized_log_prob(
    log_cdf: Callable[[jax.Array], jax.Array],
    log_sf: Callable[[jax.Array], jax.Array],
    y: jax.Array,
    num_levels: int,
) -> jax.Array:
    """``log(F(y + 1/2) - F(y - 1/2))`` with folded edges, for any distribution function; natural log.

    The difference is taken in the tail that is nearer, ``F`` or ``1 - F``, so it keeps its relative accuracy far from
    the centre. A bin much narrower than the scale loses about ``log10(scale)`` digits; for logistic mixtures
    `discretized_logistic_mixture_log_prob` loses none.

    Args:
      log_cdf: elementwise ``log F``, e.g. ``jax.scipy.stats.norm.logcdf`` with its parameters bound.
      log_sf: elementwise ``log(1 - F)``.
      y: whole numbers ``0 .. num_levels - 1``, any shape, of floating dtype (the one of the parameters).
      num_levels: number of levels, at least 2; 256 for 8-bit images.

    Returns:
      Log-probabilities with the shape of ``y``; ``-inf`` where ``y`` is not a level and where the mass underflows.

    Raises:
      TypeError: ``y`` holds integers.
      ValueError: fewer than 2 levels.
    """
    _check_levels(num_levels, "discretized_log_prob")
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            f"discretized_log_prob: expected levels in the floating dtype of the parameters, got {y.dtype}; cast with "
            f"y.astype(...)."
        )
    y, beyond = known_levels(y, num_levels)
    right, left = y + 0.5, y - 0.5
    log_cdf_left, log_cdf_right = log_cdf(left), log_cdf(right)
    log_sf_left, log_sf_right = log_sf(left), log_sf(right)
    lower = log_cdf_right < log_sf_left
    inner = log_difference(
        jnp.where(lower, log_cdf_right, log_sf_left), jnp.where(lower, log_cdf_left, log_sf_right)
    )
    log_mass = _fold(y, num_levels, log_cdf_right, inner, log_sf_left)
    return ends.outside(jnp.broadcast_to(beyond, log_mass.shape), log_mass)


@functools.partial(jax.jit, inline=True, static_argnames="num_levels")
def discretized_logistic_mixture_log_prob(
    y: jax.Array,
    num_levels: int,
    logits: jax.Array,
    means: jax.Array,
    log_scales: jax.Array,
) -> jax.Array:
    """``log sum_k pi_k (sigmoid(r_k) - sigmoid(l_k))`` with folded edges, exact at every scale; natural log.

    With ``r_k, l_k = (y +- 1/2 - mu_k) / s_k`` the difference is a product without cancellation:
    ``sigmoid(r) - sigmoid(l) = sigmoid(r) sigmoid(-l) (1 - exp(-1/s))``. It needs no floor on the mass and no
    approximation by the density. It is finite, with its gradients, wherever the distance of ``y`` from a mean in scales
    is; no ``log_scales`` is too large, and those below -50 count as -50, where one bin has all the mass already.

    Args:
      y: levels ``0 .. num_levels - 1``, integers or whole floats, any shape ``[...]``.
      num_levels: number of levels, at least 2.
      logits: unnormalized log-weights, ``[..., K]``; leading axes of parameters broadcast against ``y``.
      means: in units of levels (not of data rescaled to ``[-1, 1]``), ``[..., K]``.
      log_scales: natural log of the scales in units of levels, ``[..., K]``.

    Returns:
      Log-probabilities of the broadcast shape; ``-inf`` where ``y`` is not a level.

    Raises:
      ValueError: fewer than 2 levels.
    """
    _check_levels(num_levels, "discretized_logistic_mixture_log_prob")
    y, beyond = known_levels(y.astype(means.dtype), num_levels)
    y = y[..., None]
    shape = np.broadcast_shapes(y.shape, logits.shape, means.shape, log_scales.shape)
    y, logits, means, log_scales = (
        jnp.broadcast_to(a, shape) for a in (y, logits, means, log_scales)
    )
    log_scales = jnp.maximum(log_scales, _MIN_LOG_SCALE)
    inverse_scales = jnp.exp(-log_scales)
    log_below = log_sigmoid((y + 0.5 - means) * inverse_scales)
    log_above = log_sigmoid(-(y - 0.5 - means) * inverse_scales)
    # log(1 - exp(-1 / s)); for wide logistics -log s, to working precision, also where 1 / s underflows.
    wide = log_scales > -math.log(jnp.finfo(log_scales.dtype).eps)
    narrow_inverse = jnp.where(wide, jnp.ones_like(inverse_scales), inverse_scales)
    log_width = jnp.where(wide, -log_scales, jnp.log(-jnp.expm1(-narrow_inverse)))
    inner = log_below + log_above + log_width
    log_masses = _fold(y, num_levels, log_below, inner, log_above)
    log_mass = log_sum_exp(log_softmax(logits, axis=-1) + log_masses)
    return ends.outside(jnp.broadcast_to(beyond, log_mass.shape), log_mass)


def _fold(
    y: jax.Array, num_levels: int, first: jax.Array, inner: jax.Array, last: jax.Array
) -> jax.Array:
    """The log-mass of the first, an inner or the last level."""
    return jnp.where(y == 0, first, jnp.where(y == num_levels - 1, last, inner))


def known_levels(y: jax.Array, num_levels: int) -> tuple[jax.Array, jax.Array]:
    """``y`` with level 0 in place of what is outside, and where that is; NaN stays."""
    if jnp.issubdtype(y.dtype, jnp.integer) and y.dtype.itemsize < 4:
        y = y.astype(jnp.int32)  # 256 is no uint8
    beyond = (y < 0) | (y > num_levels - 1)
    return jnp.where(beyond, jnp.zeros_like(y), y), beyond


def _check_levels(num_levels: int, where: str) -> None:
    if num_levels < 2:
        raise ValueError(f"{where}: expected num_levels of at least 2, got {num_levels}.")
