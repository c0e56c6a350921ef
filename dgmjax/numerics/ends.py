"""Events at the ends of what a density or the arithmetic holds: their log-density is ``-inf``, their gradients zero.

A value that is chosen by `jnp.where` after the fact is not enough: the derivative of what was not chosen is
multiplied by zero, and infinity times zero is NaN. So the functions here put a harmless value in *before* the
computation, and what the event is due *after* it. NaN stays NaN: of an event, and of parameters too.
"""

import math

import jax
import jax.numpy as jnp
from jax.nn import logsumexp


def largest(dtype: jnp.dtype, share: float = 1.0) -> float:
    """A power of two a little below ``share`` of the exponents of ``dtype``: in float32 ``2^124``, ``2^60`` for a half.

    Squares of numbers up to that of a half do not overflow, nor do products with numbers such as weights, or sums.
    float16 ends at 65,504, so there it is ``2^14`` for every share.
    """
    exponents = jnp.finfo(dtype).maxexp
    return 2.0 ** (exponents - 2) if exponents < 100 else 2.0 ** (int(share * exponents) - 4)


def smallest(dtype: jnp.dtype) -> float:
    """A positive number whose reciprocal, times numbers of some hundreds, does not overflow: ``2^-118`` in float32."""
    limits = jnp.finfo(dtype)
    return float(limits.tiny) * (1.0 if limits.maxexp < 100 else 2.0**8)


def at_least(x: jax.Array, bound: float) -> jax.Array:
    """``max(x, bound)``, elementwise; NaN stays NaN.

    The gradient below is zero whatever the cotangent; that of `jnp.maximum` multiplies by zero, and infinity then
    gives NaN.
    """
    return jnp.where(x < bound, jnp.asarray(bound, x.dtype), x)


def bounded(x: jax.Array, bound: float) -> jax.Array:
    """``x`` between ``-bound`` and ``bound``, elementwise, as `at_least`."""
    return -at_least(-at_least(x, -bound), -bound)


def within(
    x: jax.Array, event_ndim: int, bound: float | None = None
) -> tuple[jax.Array, jax.Array]:
    """The events ``x`` with zeros in place of those that hold NaN, infinity or a number beyond ``bound``.

    Args:
      x: ``[*batch, *event]``.
      event_ndim: number of axes of an event.
      bound: largest number; None for that of the dtype.

    Returns:
      The events, and the verdict ``[*batch]`` for `judged`: 0 for an event that is kept, ``-inf`` or NaN for others.
    """
    x = jnp.asarray(x)  # NumPy's float64 may be float32 to JAX
    bound = float(jnp.finfo(x.dtype).max) if bound is None else bound
    axes = tuple(range(x.ndim - event_ndim, x.ndim))
    size = jax.lax.stop_gradient(jnp.abs(x)).max(axes, initial=0.0)
    kept = size <= bound
    # By a sum, since NaN stays NaN in it, and what searches for the origin of an infinity can go on to that of x.
    verdict = jnp.where(kept, jnp.zeros_like(size), -(size + jnp.inf))
    here = kept.reshape(*kept.shape, *(1,) * event_ndim)
    return jnp.where(jnp.broadcast_to(here, x.shape), x, jnp.zeros_like(x)), verdict


def judged(log_values: jax.Array, verdict: jax.Array) -> jax.Array:
    """``log_values`` of the events that `within` keeps, the verdict for the others; NaN, of parameters, stays NaN."""
    verdict = verdict.astype(log_values.dtype)
    return jnp.where((verdict == 0) | jnp.isnan(log_values), log_values, verdict)


def outside(
    where: jax.Array, log_values: jax.Array, value: float | jax.Array = -math.inf
) -> jax.Array:
    """``value`` in place of ``log_values`` ``where`` they lie outside of a support; NaN, of parameters, stays NaN.

    Compute ``log_values`` at a harmless point there.
    """
    return jnp.where(
        where & ~jnp.isnan(log_values), jnp.asarray(value, log_values.dtype), log_values
    )


def settled(log_values: jax.Array) -> jax.Array:
    """``log_values``, of which those that are ``-inf`` have no gradient: that of their finite parts has no meaning."""
    return jnp.where(log_values == -jnp.inf, jnp.full_like(log_values, -jnp.inf), log_values)


def log_sum_exp(log_values: jax.Array, axis: int = -1) -> jax.Array:
    """``log sum exp`` along an axis; where all are ``-inf`` it is ``-inf`` with zero gradient, where JAX's is NaN."""
    none = (log_values == -jnp.inf).all(axis, keepdims=True)
    safe = jnp.where(
        jnp.broadcast_to(none, log_values.shape), jnp.zeros_like(log_values), log_values
    )
    return outside(none.squeeze(axis), logsumexp(safe, axis=axis))
