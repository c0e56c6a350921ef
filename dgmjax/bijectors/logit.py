"""The logit map of bounded data: ``[0, levels]`` to the real line."""

import jax
import jax.numpy as jnp

from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled


@compiled
def logit_forward(z: jax.Array, levels: float, alpha: float) -> tuple[jax.Array, jax.Array]:
    """``x = levels * (sigmoid(z) - alpha) / (1 - 2 alpha)``, elementwise, latent to data.

    Returns:
      ``x`` and the elementwise log-derivative
      ``log(levels / (1 - 2 alpha)) + log sigmoid(z) + log sigmoid(-z)``, both with the shape of ``z``. Where ``x``
      would round to an end of its open interval, it is a number inside that can be inverted.
    """
    limits = jnp.finfo(z.dtype)
    low, high = ends.smallest(z.dtype), float(limits.epsneg)
    if (
        alpha > 0
    ):  # numbers of x are no denser at its lower end than alpha * eps, and eps at the upper one
        low, high = 8.0 * float(limits.eps) * alpha, 8.0 * float(limits.eps)
    p = jnp.clip(jax.nn.sigmoid(z), low, 1.0 - high)
    return levels * (p - alpha) / (1.0 - 2.0 * alpha), _log_derivative(z, levels, alpha)


@compiled
def logit_inverse(x: jax.Array, levels: float, alpha: float) -> tuple[jax.Array, jax.Array]:
    """``z = logit(alpha + (1 - 2 alpha) x / levels)``, elementwise, data to latent.

    Args:
      x: data in ``[0, levels]`` (dequantized pixels lie in ``[0, levels)``), any shape.
      levels: number of values a pixel can take; 256 for 8-bit images.
      alpha: squeezes the data away from 0 and 1, where the logit is infinite; 0.05 in RealNVP for colour images,
        1e-6 in MAF for MNIST. With ``alpha = 0`` the ends themselves are outside.

    Returns:
      ``z`` and the elementwise log-derivative, both with the shape of ``x``; ``-inf`` where the logit is infinite or
      undefined, with the ``z`` of a number inside and zero gradients.

    Source: Dinh et al., 2017, arXiv:1605.08803, section 4.1; Papamakarios et al., 2017, arXiv:1705.07057, section 4.
    """
    p = alpha + (1.0 - 2.0 * alpha) * (x / levels)
    # 1 - p is built from levels - x, which is exact where p rounds to 1.
    q = alpha + (1.0 - 2.0 * alpha) * ((levels - x) / levels)
    end = (p <= 0) | (q <= 0)
    p, q = (ends.at_least(tail, ends.smallest(x.dtype)) for tail in (p, q))
    z = jnp.log(p) - jnp.log(q)
    return z, ends.outside(end, -_log_derivative(z, levels, alpha))


def _log_derivative(z: jax.Array, levels: float, alpha: float) -> jax.Array:
    """Log of dx/dz."""
    constant = jnp.log(jnp.asarray(levels / (1.0 - 2.0 * alpha), z.dtype))
    return constant + jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)
