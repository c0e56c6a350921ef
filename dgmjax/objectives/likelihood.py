"""Log-likelihoods with their label, for any model of this library or of distrax."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.checks import batch_shape, context_rows, is_discrete
from dgmjax.densities.bound import Bound, bits_per_dim
from dgmjax.distributions.base import as_density
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.moments import standard_error
from dgmjax.numerics.rows import map_rows


class LogLikelihood(NamedTuple):
    """Log-likelihoods of a set of events, and what they are.

    Attributes:
      log_prob: one value an event, nats, ``[*batch]``.
      bound: exact, or which lower bound.
      event_size: number of dimensions of one event.
      discrete: whether events are integers, so that these are logarithms of probabilities, not of densities.
    """

    log_prob: jax.Array
    bound: Bound
    event_size: int
    discrete: bool

    @property
    def mean_log_likelihood(self) -> float:
        """Mean log-likelihood of an event, in nats: the greater the better."""
        return float(jnp.mean(self.log_prob))

    @property
    def negative_log_likelihood(self) -> float:
        """``-mean_log_likelihood``, in nats: the smaller the better; ``nats`` in the records of a run."""
        return -self.mean_log_likelihood

    @property
    def bits_per_dim(self) -> float | None:
        """``negative_log_likelihood / (event_size ln 2)`` of integers; None of floats, whose densities have no such."""
        if not self.discrete:
            return None
        return bits_per_dim(self.negative_log_likelihood, self.event_size)

    @property
    def standard_error(self) -> float:
        """Standard error of `mean_log_likelihood` over the events, in nats; NaN for a single event."""
        return standard_error(self.log_prob)

    def __str__(self) -> str:
        """E.g. ``log-likelihood -89.93 +- 0.45 nats (2.027 bits/dim), one-sample bound (uniform dequantization)``."""
        bits = "" if self.bits_per_dim is None else f" ({self.bits_per_dim:.3f} bits/dim)"
        mean, error = self.mean_log_likelihood, self.standard_error
        return f"log-likelihood {mean:.2f} +- {error:.2f} nats{bits}, {self.bound}"


def bound_of(model: Any, num_samples: int = 1) -> Bound:
    """The label of what ``model.log_prob`` returns; distrax's are exact, other models must say."""
    return model.bound(num_samples) if hasattr(model, "bound") else as_density(model).bound()


@compiled
def log_prob(
    model: Any,
    x: jax.Array,
    context: jax.Array | None = None,
    *,
    seed: jax.Array | None = None,
    num_samples: int = 1,
    key: jax.Array | None = None,
) -> jax.Array:
    """``model.log_prob`` of flows, dequantized flows and distrax distributions by one call: ``[*batch]``, nats.

    Args:
      model: flow, `dgmjax.Dequantized` or distrax distribution.
      x: events.
      context: for a conditional model.
      seed: key of the noise; needed where the value is a bound.
      num_samples: importance samples, where the value is a bound.
      key: switches dropout on, in models that have any.

    Raises:
      ValueError: a bound was asked for without a ``seed``.
    """
    density = as_density(model)
    if seed is None and density.bound().is_noisy:
        raise ValueError(
            f"log_prob: {type(model).__name__} returns a {density.bound()}, which draws noise; pass "
            f"seed=jax.random.key(...)."
        )
    return density.log_prob(x, context, seed=seed, num_samples=num_samples, key=key)


def log_likelihood(
    model: Any,
    x: jax.Array,
    context: jax.Array | None = None,
    *,
    seed: jax.Array | None = None,
    num_samples: int = 1,
    batch_size: int | None = None,
) -> LogLikelihood:
    """Log-likelihoods of the events ``x`` with their bound.

    Args:
      model: flow, `dgmjax.Dequantized`, model with latent variables or distrax distribution.
      x: events ``[*batch, *event]``; may be a NumPy array that does not fit on the device.
      context: ``[*batch, *context_shape]`` or one row, for a conditional model.
      seed: key of the noise, needed where the value is a bound: one, of which every event gets a key of its own
        (`dgmjax.numerics.prng.example_keys`), or one an event.
      num_samples: importance samples, where the value is a bound.
      batch_size: rows of the first axis at a time, which changes values by rounding only; None for all.

    Raises:
      ValueError: a bound was asked for without a ``seed``, wrong shapes, or a batch size below 1.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> print(dgm.log_likelihood(dgm.Flow(dgm.DiagonalLinear((2,))), jnp.zeros((3, 2))))
      log-likelihood -1.84 +- 0.00 nats, exact
    """
    batch = batch_shape(x, model.event_shape, where="log_likelihood")
    if not bound_of(model).is_noisy:
        seed = None
    elif seed is not None and not seed.ndim:
        seed = prng.example_keys(seed, math.prod(batch)).reshape(batch)

    def log_probs(x: jax.Array, context: Any, seed: jax.Array | None) -> jax.Array:
        return log_prob(model, x, context, seed=seed, num_samples=num_samples)

    if batch_size is None:
        values = log_probs(x, context, seed)
    else:
        rows = context_rows(model, context, batch, where="log_likelihood")
        values = map_rows(log_probs, x, rows, seed, batch_size=batch_size)
    event_size = math.prod(model.event_shape)
    return LogLikelihood(values, bound_of(model, num_samples), event_size, is_discrete(x))
