"""Likelihoods of a model on the rows of a data set, with their bound."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

import dgmjax as dgm
from dgmjax.checks import is_discrete
from dgmjax.numerics import map_rows

# A one-sample bound is an expectation over the noise: the mean over draws estimates the same number, less noisily.
NOISE_DRAWS = 16


def log_marginal(
    model: Any,
    x: jax.Array,
    contexts: ArrayLike,
    log_weights: ArrayLike,
    *,
    seed: jax.Array | None = None,
    num_samples: int = 1,
) -> jax.Array:
    """``log sum_c w_c p(x | c)`` of a conditional model: ``[n]``; a bound where ``log p(x | c)`` is one.

    Args:
      model: the conditional model.
      x: events ``[n, *event]``.
      contexts: ``[k, *context]``, one a condition.
      log_weights: ``log w_c``, ``[k]``.
      seed: of the noise, which all conditions share.
      num_samples: importance samples of a bound.
    """

    def given(context: jax.Array) -> jax.Array:
        return dgm.objectives.log_prob(model, x, context, seed=seed, num_samples=num_samples)

    values = jax.lax.map(given, jnp.asarray(contexts))
    weights = jnp.asarray(log_weights, values.dtype)[:, None]
    return jax.nn.logsumexp(values + jnp.broadcast_to(weights, values.shape), axis=0)


def likelihood_on(
    model: Any,
    x: np.ndarray,
    context: np.ndarray | None = None,
    *,
    seed: int,
    num_samples: int = 1,
    draws: int = NOISE_DRAWS,
    mixture: tuple[np.ndarray, np.ndarray] | None = None,
) -> dgm.LogLikelihood:
    """Log-likelihoods of all rows of ``x``, each the mean over ``draws`` of its bound if there is noise.

    The noise of rows is that of their batch of 512. With a ``mixture``, contexts and the logarithms of their weights,
    they are marginal over those (`log_marginal`).
    """
    bound = dgm.objectives.bound_of(model, num_samples)
    draws = draws if bound.is_noisy else 1

    @jax.jit
    def evaluate(model: Any, x: jax.Array, context: jax.Array | None, start: Any) -> jax.Array:
        def draw(seed: jax.Array) -> jax.Array:
            if mixture is not None:
                return log_marginal(model, x, *mixture, seed=seed, num_samples=num_samples)
            return dgm.objectives.log_prob(model, x, context, seed=seed, num_samples=num_samples)

        key = jax.random.fold_in(jax.random.key(seed), start)
        return jax.lax.map(draw, jax.random.split(key, draws)).mean(0)

    values = map_rows(
        lambda x, context, rows: evaluate(model, x, context, rows[0]),
        x, context, np.arange(len(x)), batch_size=512,
    )  # fmt: skip
    event_size = int(np.prod(model.event_shape))
    return dgm.LogLikelihood(values, bound, event_size, is_discrete(x))


def as_record(likelihood: dgm.LogLikelihood, *, draws: int) -> dict[str, Any]:
    """JSON-compatible numbers of a likelihood, with their unit and bound: ``nats`` is the negative log-likelihood.

    Densities, the likelihoods of floats, have no ``bits_per_dim``.
    ``noise_draws`` says over how many independent draws of the noise a bound was averaged; it does not tighten it.
    One row has no standard error: None.
    """
    rows, bits = int(likelihood.log_prob.size), likelihood.bits_per_dim
    return {
        "nats": round(likelihood.negative_log_likelihood, 4),
        "standard_error_nats": None if rows < 2 else round(likelihood.standard_error, 4),
        **({} if bits is None else {"bits_per_dim": round(bits, 5)}),
        "bound": str(likelihood.bound),
        "rows": rows,
    } | ({"noise_draws": draws} if likelihood.bound.is_noisy else {})


def plus_minus(standard_error: float | None) -> str:
    """`` +- 0.45``, or nothing where there is no standard error."""
    return "" if standard_error is None else f" +- {standard_error:.2f}"
