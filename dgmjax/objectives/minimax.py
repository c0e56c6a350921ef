"""The minimax game of adversarial training where both densities are known: optimal discriminator and value."""

import jax
import jax.numpy as jnp

# Values of a function at points, and the points: the trapezoidal rule.


def optimal_discriminator(log_p_data: jax.Array, log_p_model: jax.Array) -> jax.Array:
    """The logits of ``D*(x) = p_data(x) / (p_data(x) + p_g(x))``: ``log p_data(x) - log p_g(x)``, elementwise.

    ``D* = 1/2`` at every ``x``, logits of 0, if and only if ``p_g = p_data``. The mean of ``D*`` over data and samples
    in equal shares is 1/2 for every generator, so "E[D] = 1/2" (errata E-A4-10 of the lectures) says nothing about it.

    Args:
      log_p_data: log-densities of the data at some points.
      log_p_model: of the generator at the same points.

    Source: Goodfellow et al., 2014, arXiv:1406.2661, proposition 1.
    """
    return log_p_data - log_p_model


def minimax_value(
    log_p_data: jax.Array, log_p_model: jax.Array, logits: jax.Array, points: jax.Array
) -> jax.Array:
    """``V(D, G) = int p_data log D + p_g log(1 - D) dx`` of densities on the line, a scalar in nats.

    With the logits of `optimal_discriminator` it is ``-log 4 + 2 JSD(p_data || p_g)``, and never more with others.

    Args:
      log_p_data: log-densities at ``points``, ``[n]``; ``-inf`` is fine.
      log_p_model: the same of the generator.
      logits: of the discriminator ``D = sigmoid(logits)``, ``[n]``.
      points: increasing, ``[n]``, beyond which both densities are negligible. The trapezoidal rule is exact to rounding
        for smooth densities on even points that are close enough.

    Raises:
      ValueError: shapes that differ.

    Source: Goodfellow et al., 2014, arXiv:1406.2661, equation 1 and theorem 1.
    """
    _check("minimax_value", points, log_p_data, log_p_model, logits)
    of_data = _weighted(log_p_data, -jax.nn.softplus(-logits))
    of_samples = _weighted(log_p_model, -jax.nn.softplus(logits))
    return jnp.trapezoid(of_data + of_samples, points)


def jensen_shannon_divergence(log_p: jax.Array, log_q: jax.Array, points: jax.Array) -> jax.Array:
    """``JSD = KL(p || m) / 2 + KL(q || m) / 2``, ``m = (p + q) / 2``: a scalar in nats, from 0 to ``log 2``.

    Args:
      log_p: log-densities at ``points``, ``[n]``; ``-inf`` is fine.
      log_q: the same.
      points: as in `minimax_value`.

    Raises:
      ValueError: shapes that differ.
    """
    _check("jensen_shannon_divergence", points, log_p, log_q)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(jnp.asarray(2.0, log_p.dtype))
    integrand = _weighted(log_p, log_p - log_m) + _weighted(log_q, log_q - log_m)
    return 0.5 * jnp.trapezoid(integrand, points)


def _weighted(log_density: jax.Array, value: jax.Array) -> jax.Array:
    """``p value``, and 0 where ``p`` is 0, whatever the value."""
    density = jnp.exp(log_density)
    return jnp.where(density > 0, density * jnp.where(density > 0, value, 0), 0)


def _check(where: str, points: jax.Array, *values: jax.Array) -> None:
    shapes = {value.shape for value in values} | {points.shape}
    if len(shapes) > 1 or points.ndim != 1:
        raise ValueError(
            f"{where}: expected values at points on the line, all of one shape [n], got {sorted(shapes)}."
        )
