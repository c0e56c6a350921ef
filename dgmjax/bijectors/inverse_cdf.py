"""The inverse transform as a bijector: uniform noise to any one-dimensional distribution.

``x = F^-1(u)`` has ``dx/du = 1 / p(x)``, so the log-derivative is ``-log p(F^-1(u))``; the inverse is ``u = F(x)``.

Source: Papamakarios et al., 2021, *Normalizing Flows for Probabilistic Modeling and Inference*, arXiv:1912.02762,
section 2.2.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.root import Monotone, monotone_root
from dgmjax.numerics.sharding import varying


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of one-dimensional distributions with a positive density on an interval.

    The functions are elementwise in ``x``; ``params`` is a pytree of arrays. Give functions of a module, not fresh
    lambdas: they key the cache of the compiled root finder.

    Attributes:
      log_tails: ``(x, params) -> (log F(x), log(1 - F(x)))``.
      log_prob: ``(x, params) -> log p(x)``.
      icdf: ``(u, params) -> F^-1(u)``, or None to solve for it.
      support: ends of the interval; infinite ends are found by doubling.
    """

    log_tails: Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]
    log_prob: Callable[[jax.Array, Any], jax.Array]
    icdf: Callable[[jax.Array, Any], jax.Array] | None = None
    support: tuple[float, float] = (-math.inf, math.inf)


@compiled
def inverse_cdf_forward(u: jax.Array, family: Family, params: Any) -> tuple[jax.Array, jax.Array]:
    """``x = F^-1(u)``, elementwise, latent to data.

    Without `Family.icdf` a root of ``logit F(x) = logit u``, so that both tails keep their digits; gradients are
    implicit. In float32 ``u`` itself resolves the lower tail down to 1e-38, the upper one only to 6e-8 (5.3 standard
    deviations of a normal).

    Args:
      u: in ``(0, 1)``, any shape. The ends, where ``x`` may be infinite, count as the floats beside them: uniform
        generators return 0.
      family: the distribution.
      params: its parameters.

    Returns:
      ``x``, strictly inside the support, and the elementwise log-derivative ``-log p(x)``, both with the shape of
      ``u``.
    """
    x = quantile(u, family, params)
    return x, -family.log_prob(x, params)


@compiled
def inverse_cdf_inverse(x: jax.Array, family: Family, params: Any) -> tuple[jax.Array, jax.Array]:
    """``u = F(x)``, elementwise, data to latent: the inverse of `inverse_cdf_forward`.

    Returns:
      ``u``, strictly inside ``(0, 1)`` also where ``F`` rounds to an end, and the elementwise log-derivative
      ``log p(x)``, both with the shape of ``x``; ``-inf`` at the ends of the support and outside, with zero gradients.
    """
    low, high = family.support
    inside = jnp.asarray(_interior_point(family.support), x.dtype)
    beyond = (x <= low) | (x >= high)
    # Where the density underflows too: gradients of mixtures are 0 / 0 there.
    log_prob = family.log_prob(jax.lax.stop_gradient(jnp.where(beyond, inside, x)), params)
    beyond |= jax.lax.stop_gradient(log_prob) == -jnp.inf
    x = jnp.where(beyond, inside, x)
    log_cdf, _ = family.log_tails(x, params)
    return _open_interval(jnp.exp(log_cdf)), ends.outside(beyond, family.log_prob(x, params))


@compiled
def quantile(u: jax.Array, family: Family, params: Any) -> jax.Array:
    """``F^-1(u)`` for ``u`` in ``(0, 1)``, elementwise; shape of ``u``."""
    u = _open_interval(u)
    if family.icdf is not None:
        return _open_support(family.icdf(u, params), family.support)
    target = jnp.log(u) - jnp.log1p(-u)
    f = _logit_cdf(family.log_tails)
    low, high = _bracket(f, *jax.lax.stop_gradient((params, target)), support=family.support)
    return _open_support(monotone_root(f, params, target, low, high), family.support)


# monotone_root compiles once for every function object.
@functools.lru_cache(maxsize=256)
def _logit_cdf(log_tails: Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]) -> Monotone:
    def logit_cdf(x: jax.Array, params: Any) -> jax.Array:
        log_cdf, log_sf = log_tails(x, params)
        return log_cdf - log_sf

    return logit_cdf


@functools.partial(jax.jit, static_argnums=0, static_argnames="support")
def _bracket(
    f: Monotone, params: Any, target: jax.Array, *, support: tuple[float, float]
) -> tuple[jax.Array, jax.Array]:
    """Ends with ``f(low) <= target <= f(high)``: the support, or offsets that double from 1."""
    low, high = support
    anchor = low if math.isfinite(low) else high if math.isfinite(high) else 0.0

    def reach(sign: float) -> jax.Array:
        def falls_short(offset: jax.Array) -> jax.Array:
            # NaN compares false and ends the search; the root finder reports it.
            return sign * (f(anchor + sign * offset, params) - target) < 0

        def unfinished(state: tuple[jax.Array, jax.Array]) -> jax.Array:
            return state[1].any()

        def double(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            offset, short = state
            offset = jnp.where(short, 2.0 * offset, offset)
            return offset, falls_short(offset) & (offset < 0.25 * jnp.finfo(target.dtype).max)

        start = varying(jnp.ones_like(target), params, target)
        offset, _ = jax.lax.while_loop(unfinished, double, (start, falls_short(start)))
        return anchor + sign * offset

    return (
        jnp.full_like(target, low) if math.isfinite(low) else reach(-1.0),
        jnp.full_like(target, high) if math.isfinite(high) else reach(1.0),
    )


def _interior_point(support: tuple[float, float]) -> float:
    """A number inside of an interval."""
    low, high = support
    if math.isfinite(low) and math.isfinite(high):
        return 0.5 * low + 0.5 * high
    if math.isfinite(low):
        return low + max(1.0, abs(low))
    return high - max(1.0, abs(high)) if math.isfinite(high) else 0.0


def _open_support(x: jax.Array, support: tuple[float, float]) -> jax.Array:
    """``x`` with the number next to an end of the support in place of what rounds to it."""
    limits, (low, high) = jnp.finfo(x.dtype), support
    step = float(limits.eps)
    if math.isfinite(low):
        x = jnp.maximum(x, low + max(step * abs(low), ends.smallest(x.dtype)))
    if math.isfinite(high):
        x = jnp.minimum(x, high - max(step * abs(high), ends.smallest(x.dtype)))
    return x


def _open_interval(u: jax.Array) -> jax.Array:
    limits = jnp.finfo(u.dtype)
    return jnp.clip(u, limits.tiny, 1.0 - limits.epsneg)
