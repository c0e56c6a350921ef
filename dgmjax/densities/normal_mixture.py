"""Mixtures of K one-dimensional normals: density and both tails.

Parameters ``logits``, ``means`` and ``log_scales`` have shape ``[..., K]``, natural log; everything is elementwise over
the leading axes, which are those of ``x`` or none.
"""

import jax
import jax.numpy as jnp
from jax.nn import log_softmax
from jax.scipy.special import log_ndtr

from dgmjax.densities.normal import normal_log_prob
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.ends import log_sum_exp


@compiled
def normal_mixture_log_prob(
    x: jax.Array, logits: jax.Array, means: jax.Array, log_scales: jax.Array
) -> jax.Array:
    """``log sum_k pi_k N(x; mu_k, s_k^2)`` with ``pi = softmax(logits)``, nats; shape of ``x``."""
    log_weights, z, log_scales = _standardize(x, logits, means, log_scales)
    return log_sum_exp(log_weights + normal_log_prob(z, 0.0, 0.0) - log_scales)


@compiled
def normal_mixture_log_tails(
    x: jax.Array, logits: jax.Array, means: jax.Array, log_scales: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``log F(x)`` and ``log(1 - F(x))``, stable in both tails; shapes of ``x``."""
    log_weights, z, _ = _standardize(x, logits, means, log_scales)
    # Beyond, a tail is 0 or 1, and the square in its expansion overflows.
    bound = ends.largest(z.dtype, 0.5)
    low, high = z < -bound, z > bound
    z = ends.bounded(z, bound)
    lower, upper = ends.outside(low, log_ndtr(z)), ends.outside(high, log_ndtr(-z))
    return log_sum_exp(log_weights + lower), log_sum_exp(log_weights + upper)


def _standardize(
    x: jax.Array, logits: jax.Array, means: jax.Array, log_scales: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    shape = (*x.shape, means.shape[-1])
    logits, means, log_scales = (jnp.broadcast_to(a, shape) for a in (logits, means, log_scales))
    # Gradients multiply the scales by this, and zero by infinity is NaN.
    x = ends.bounded(x, ends.largest(x.dtype))
    z = (jnp.broadcast_to(x[..., None], shape) - means) * jnp.exp(-log_scales)
    return log_softmax(logits, axis=-1), z, log_scales
