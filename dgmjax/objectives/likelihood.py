"""Log-likelihoods with their label, for any model of this library or of distrax."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.densities.bound import Bound, bits_per_dim
from dgmjax.layers.density import as_density
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.statistics import standard_error


class Likelihood(NamedTuple):
    """Log-likelihoods of a set of events, and what they are.

    Attributes:
      log_prob: one value an event, nats, ``[*batch]``.
      bound: exact, or which lower bound.
      event_size: number of dimensions of one event.
    """

    log_prob: jax.Array
    bound: Bound
    event_size: int

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood of an event, in nats."""
        return -float(jnp.mean(self.log_prob))

    @property
    def bits_per_dim(self) -> float:
        """Mean negative log-likelihood in bits a dimension: ``nats / (event_size ln 2)``."""
        return bits_per_dim(self.nats, self.event_size)

    @property
    def standard_error(self) -> float:
        """Standard error of `nats` over the events, in nats; NaN for a single event."""
        return standard_error(self.log_prob)

    def __str__(self) -> str:
        """E.g. ``89.93 +- 0.45 nats = 2.027 bits/dim, one-sample bound (uniform dequantization)``."""
        return f"{self.nats:.2f} +- {self.standard_error:.2f} nats = {self.bits_per_dim:.3f} bits/dim, {self.bound}"


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
) -> Likelihood:
    """Log-likelihoods of the events ``x`` with their bound; arguments as in `log_prob`.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> print(dgm.log_likelihood(dgm.Flow(dgm.DiagonalLinear((2,))), jnp.zeros((3, 2))))
      1.84 +- 0.00 nats = 1.326 bits/dim, exact
    """
    values = log_prob(model, x, context, seed=seed, num_samples=num_samples)
    return Likelihood(values, bound_of(model, num_samples), math.prod(model.event_shape))
