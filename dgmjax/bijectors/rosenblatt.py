"""The Rosenblatt transform: the inverse transform in D dimensions, one conditional distribution after another.

``x_i = F_i^-1(u_i | x_<i)`` maps ``U(0, 1)^D`` to the joint distribution. The Jacobian is triangular, so
``log |det dx/du| = -sum_i log p(x_i | x_<i) = -log p(x)``.

Source: Rosenblatt, 1952, *Remarks on a multivariate transformation*, Ann. Math. Statist. 23(3).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from dgmjax.bijectors.inverse_cdf import Family, inverse_cdf_forward, inverse_cdf_inverse
from dgmjax.densities.normal_mixture import normal_mixture_log_prob, normal_mixture_log_tails
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled

Conditional = Callable[[jax.Array], Any]


@compiled
def rosenblatt_forward(
    u: jax.Array, family: Family, conditional: Conditional
) -> tuple[jax.Array, jax.Array]:
    """``x_i = F_i^-1(u_i | x_<i)`` for ``i = 0 .. D-1``, latent to data; D steps, one after another.

    Args:
      u: in ``(0, 1)^D``, ``[*batch, D]``.
      family: the one-dimensional family of all conditionals.
      conditional: ``x_<i`` of shape ``[*batch, i]`` to the parameters of ``p(x_i | x_<i)``, for every ``i < D``; the
        index is the size of the last axis.

    Returns:
      ``x`` of the shape of ``u`` and ``log |det dx/du|`` of shape ``[*batch]``.
    """
    x, log_det = u[..., :0], jnp.zeros(u.shape[:-1], u.dtype)
    for i in range(u.shape[-1]):
        x_i, log_derivative = inverse_cdf_forward(u[..., i], family, conditional(x))
        x, log_det = jnp.concatenate([x, x_i[..., None]], axis=-1), log_det + log_derivative
    return x, log_det


@compiled
def rosenblatt_inverse(
    x: jax.Array, family: Family, conditional: Conditional
) -> tuple[jax.Array, jax.Array]:
    """``u_i = F_i(x_i | x_<i)``, data to latent: the inverse of `rosenblatt_forward`.

    Returns:
      ``u`` in ``(0, 1)^D`` of the shape of ``x`` and ``log |det du/dx| = log p(x)`` of shape ``[*batch]``.
    """
    pairs = [
        inverse_cdf_inverse(x[..., i], family, conditional(x[..., :i])) for i in range(x.shape[-1])
    ]
    u, log_derivative = (jnp.stack(parts, axis=-1) for parts in zip(*pairs, strict=True))
    return u, log_derivative.sum(-1)


def _log_tails(x: jax.Array, params: Any) -> tuple[jax.Array, jax.Array]:
    return normal_mixture_log_tails(x, *params)


def _log_prob(x: jax.Array, params: Any) -> jax.Array:
    return normal_mixture_log_prob(x, *params)


NORMAL_MIXTURES = Family(_log_tails, _log_prob)


@compiled
def gaussian_mixture_conditional(
    prefix: jax.Array, logits: jax.Array, means: jax.Array, scale_trils: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``p(x_i | x_<i)`` of a Gaussian mixture: a 1-D mixture with the posterior weights given ``x_<i``.

    With ``Sigma_k = L_k L_k^T`` and ``e_k = L_k^-1 (x - mu_k)``, component ``k`` is
    ``N(mu_ki + sum_{j<i} L_kij e_kj, L_kii^2)``, and its weight is proportional to ``w_k N(x_<i; mu_k, Sigma_k)``.

    Args:
      prefix: ``x_<i``, ``[*batch, i]``.
      logits: unnormalized log-weights, ``[K]``.
      means: ``[K, D]``.
      scale_trils: Cholesky factors, ``[K, D, D]``, lower triangular with positive diagonal.

    Returns:
      Logits, means and log-scales of `NORMAL_MIXTURES`, each ``[*batch, K]``.
    """
    *batch, i = prefix.shape
    count = logits.shape[0]
    log_diagonal = jnp.log(jnp.diagonal(scale_trils, axis1=-2, axis2=-1))
    flat = prefix.reshape(math.prod(batch), i).T
    shape = (count, i, flat.shape[1])
    offset = jnp.broadcast_to(flat[None], shape) - jnp.broadcast_to(means[:, :i, None], shape)
    e = solve_triangular(scale_trils[:, :i, :i], offset, lower=True) if i else offset
    shift = jnp.einsum("kj,kjn->nk", scale_trils[:, i, :i], e, precision="highest")
    # Where all squares overflowed, no component would have a weight.
    e = ends.bounded(e, ends.largest(e.dtype, 0.5))
    # The constant -i log(2 pi) / 2 is common to all components.
    log_likelihood = (-0.5 * (e**2).sum(1) - log_diagonal[:, :i].sum(1)[:, None]).T
    logits, mean, log_scale = (
        jnp.broadcast_to(a, (flat.shape[1], count))
        for a in (logits, means[:, i], log_diagonal[:, i])
    )
    parameters = logits + log_likelihood, mean + shift, log_scale
    logits, mean, log_scale = (a.reshape(*batch, count) for a in parameters)
    return logits, mean, log_scale
