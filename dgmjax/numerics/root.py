"""Root of a monotone scalar function, elementwise, with implicit gradients."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dgmjax.numerics.sharding import varying

Monotone = Callable[[jax.Array, Any], jax.Array]
# Iteration, point, lower end, upper end, finished.
_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def monotone_root(
    f: Monotone, params: Any, target: jax.Array, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``x`` in ``[low, high]`` with ``f(x, params) = target``, elementwise, for ``f`` strictly increasing in ``x``.

    Every iteration halves the bracket and takes a Newton step, which counts only inside the bracket. So the number
    of iterations is bounded (twice the bits of the dtype), and near the root convergence is quadratic. The result is
    accurate to a few units in the last place of ``x``, or of what the rounding of ``f`` allows.

    Derivatives of any order, forward and reverse, come from the implicit function theorem, not through the loop:
    ``dx = (dtarget - (df/dparams) dparams) / (df/dx)``. The bracket has no gradient.

    Args:
      f: ``(x, params) -> value`` of the shape of ``x``; element i depends on ``x`` only through ``x[i]``. Arrays
        reach it through ``params`` alone, never by closure. Pass the same object every time: it keys the cache of
        the compiled loop.
      params: pytree of arrays.
      target: floating point, any shape.
      low: lower end of the bracket; broadcasts to the shape of ``target``.
      high: upper end of the bracket; broadcasts to the shape of ``target``.

    Returns:
      Shape and dtype of ``target``; NaN where ``f`` is, and the nearer end where the bracket holds no root.
    """
    low, high = (
        jnp.broadcast_to(jnp.asarray(end, target.dtype), target.shape) for end in (low, high)
    )
    return _root(f, *varying((params, target, low, high)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _root(
    f: Monotone, params: Any, target: jax.Array, low: jax.Array, high: jax.Array
) -> jax.Array:
    return _solve(f, params, target, low, high)


@_root.defjvp
def _root_jvp(f: Monotone, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    params, target, low, high = primals
    params_dot, target_dot, _, _ = tangents
    # Not _solve: the implicit rule then holds for the second derivative too.
    x = _root(f, params, target, low, high)
    _, slope = _value_and_slope(f, params, x)
    _, from_params = jax.jvp(lambda p: f(x, p), (params,), (params_dot,))
    return x, (target_dot - from_params) / slope


def _value_and_slope(f: Monotone, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(lambda x: f(x, params), (x,), (jnp.ones_like(x),))


# Compiled here, since an eager while_loop with fresh closures would be compiled at every call.
@functools.partial(jax.jit, static_argnums=0)
def _solve(
    f: Monotone, params: Any, target: jax.Array, low: jax.Array, high: jax.Array
) -> jax.Array:
    limits = jnp.finfo(target.dtype)
    eps, bound = float(limits.eps), 2 * limits.bits

    def shrink(
        x: jax.Array, residual: jax.Array, low: jax.Array, high: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return jnp.where(residual <= 0, x, low), jnp.where(residual >= 0, x, high)

    def unfinished(state: _State) -> jax.Array:
        iteration, *_, done = state
        return (iteration < bound) & ~done.all()

    def step(state: _State) -> _State:
        iteration, x, low, high, done = state
        value, slope = _value_and_slope(f, params, x)
        residual = value - target
        low, high = shrink(x, residual, low, high)
        middle = _middle(low, high)
        low, high = shrink(middle, f(middle, params) - target, low, high)
        newton = x - residual / slope
        new = jnp.where((low <= newton) & (newton <= high), newton, _middle(low, high))
        # A NaN residual compares false everywhere and would pass for a finite root.
        new = jnp.where(jnp.isnan(residual), residual, new)
        resolution = 2 * eps * jnp.abs(new)
        converged = (
            (jnp.abs(new - x) <= resolution)
            | (high - low <= resolution)
            | (jnp.abs(residual) <= eps * jnp.abs(target))
            | jnp.isnan(new)
        )
        # Finished elements rest, so that a value does not depend on its neighbours in the batch.
        return iteration + 1, jnp.where(done, x, new), low, high, done | converged

    start = (jnp.zeros((), jnp.int32), _middle(low, high), low, high, jnp.zeros(low.shape, bool))
    return jax.lax.while_loop(unfinished, step, varying(start))[1]


def _middle(low: jax.Array, high: jax.Array) -> jax.Array:
    return low + 0.5 * (high - low)
