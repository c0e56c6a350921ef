"""Mixtures of K one-dimensional normals: density and both tails.

Parameters ``logits``, ``means`` and ``log_scales`` have shape ``[..., K]``, natural log; everything is elementwise over
the leading axes, which are those of ``x`` or none.
"""

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, logsumexp
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm


def normal_mixture_log_prob(
    x: jax.Array, logits: jax.Array, means: jax.Array, log_scales: jax.Array
) -> jax.Array:
    """``log sum_k pi_k N(x; mu_k, s_k^2)`` with ``pi = softmax(logits)``, nats; shape of ``x``."""
    log_weights, z, log_scales = _standardize(x, logits, means, log_scales)
    return logsumexp(log_weights + norm.logpdf(z) - log_scales, axis=-1)


def normal_mixture_log_tails(
    x: jax.Array, logits: jax.Array, means: jax.Array, log_scales: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``log F(x)`` and ``log(1 - F(x))``, stable in both tails; shapes of ``x``."""
    log_weights, z, _ = _standardize(x, logits, means, log_scales)
    lower = logsumexp(log_weights + log_ndtr(z), axis=-1)
    return lower, logsumexp(log_weights + log_ndtr(-z), axis=-1)


def _standardize(
    x: jax.Array, logits: jax.Array, means: jax.Array, log_scales: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    shape = (*x.shape, means.shape[-1])
    logits, means, log_scales = (jnp.broadcast_to(a, shape) for a in (logits, means, log_scales))
    z = (jnp.broadcast_to(x[..., None], shape) - means) * jnp.exp(-log_scales)
    return log_softmax(logits, axis=-1), z, log_scales
