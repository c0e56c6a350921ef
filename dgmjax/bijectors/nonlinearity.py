"""Nonlinearities of planar and Sylvester flows, with the facts that make ``y + c h(y)`` invertible."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.root import monotone_root

# The smallest slope of a constrained map. At the bound itself a float32 derivative rounds to 0, its log to -inf.
MARGIN = 1e-3
_LEAK = 0.01

NonlinearityName = Literal["tanh", "sigmoid", "softplus", "leaky_relu"]


@compiled
def bounded_coefficient(raw: jax.Array, max_slope: float = 1.0) -> jax.Array:
    """``c = -(1 - MARGIN) / max_slope + softplus(raw + k)``, with the constant ``k`` that makes ``c(0) = 0``.

    Maps the reals onto ``c > -(1 - MARGIN) / max_slope``, so ``1 + c h'(y) >= MARGIN`` for every nonlinearity with
    ``0 <= h' <= max_slope``. Elementwise; shape of ``raw``.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, appendix A.1 (``m(x) = -1 + softplus(x)``), with the bound
    of a general ``h`` and shifted so that zero parameters are the identity.
    """
    bound = (1.0 - MARGIN) / max_slope
    return jax.nn.softplus(raw + float(np.log(np.expm1(bound)))) - bound


@dataclasses.dataclass(frozen=True)
class Nonlinearity:
    """An increasing function ``h`` with bounded slope: ``min_slope <= h'(y) <= max_slope``.

    Attributes:
      fn: ``h``, elementwise.
      derivative: ``h'``, elementwise.
      min_slope: infimum of ``h'``, not negative.
      max_slope: supremum of ``h'``; ``y + c h(y)`` is increasing if ``c > -1 / max_slope``.
    """

    fn: Callable[[jax.Array], jax.Array]
    derivative: Callable[[jax.Array], jax.Array]
    min_slope: float
    max_slope: float

    def ridge(self, y: jax.Array, c: jax.Array) -> jax.Array:
        """``y + c h(y)``, elementwise: what a planar flow does along its direction."""
        return y + c * self.fn(y)

    def ridge_log_derivative(self, y: jax.Array, c: jax.Array) -> jax.Array:
        """``log(1 + c h'(y))``, elementwise."""
        return jnp.log1p(c * self.derivative(y))

    def ridge_inverse(self, s: jax.Array, c: jax.Array) -> jax.Array:
        """``y`` with ``y + c h(y) = s``, elementwise, for ``c > -1 / max_slope``; gradients are implicit."""
        # From y = s the function has to fall by c h(s), at no less than its smallest slope.
        slope = 1.0 + jnp.minimum(c * self.min_slope, c * self.max_slope)
        far = s - c * self.fn(s) / slope
        return monotone_root(self.ridge, c, s, jnp.minimum(s, far), jnp.maximum(s, far))


NONLINEARITIES: dict[str, Nonlinearity] = {
    "tanh": Nonlinearity(jnp.tanh, lambda y: 1.0 - jnp.tanh(y) ** 2, 0.0, 1.0),
    "sigmoid": Nonlinearity(
        jax.nn.sigmoid, lambda y: jax.nn.sigmoid(y) * jax.nn.sigmoid(-y), 0.0, 0.25
    ),
    "softplus": Nonlinearity(jax.nn.softplus, jax.nn.sigmoid, 0.0, 1.0),
    "leaky_relu": Nonlinearity(
        lambda y: jax.nn.leaky_relu(y, _LEAK),
        lambda y: jnp.where(y >= 0, jnp.ones_like(y), jnp.full_like(y, _LEAK)),
        _LEAK,
        1.0,
    ),
}


def nonlinearity(h: NonlinearityName | Nonlinearity) -> Nonlinearity:
    """The nonlinearity of a name in ``NONLINEARITIES``, or the one that was given.

    Raises:
      ValueError: unknown name; the message lists the known ones.
      TypeError: neither a name nor a `Nonlinearity`.
    """
    if isinstance(h, str):
        if h not in NONLINEARITIES:
            raise ValueError(
                f"nonlinearity: unknown name {h!r}; expected one of {sorted(NONLINEARITIES)}, or a "
                f"dgmjax.bijectors.Nonlinearity."
            )
        return NONLINEARITIES[h]
    if not isinstance(h, Nonlinearity):
        raise TypeError(
            f"nonlinearity: expected a name or a dgmjax.bijectors.Nonlinearity, which says its derivative and the "
            f"bounds of its slope, got {h!r}."
        )
    return h
