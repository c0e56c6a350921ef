"""The solution of ``x + g(x) = z`` by iteration, with gradients from the implicit function theorem.

``g(x, params)`` has the shape of ``x``, ``[*batch, *event]``, and treats events independently. Arrays reach it through
``params`` alone, never by closure.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.numerics.sharding import varying

Branch = Callable[[jax.Array, Any], jax.Array]
# Iteration, point, size of the last step, size of the problem, finished.
_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]

# Rounding stops steps from shrinking at a few eps; below this many a step that grows is noise.
_NOISE = 1e3


def residual_fixed_point(
    g: Branch,
    params: Any,
    z: jax.Array,
    *,
    event_ndim: int = 1,
    tolerance: float | None = None,
    max_iterations: int = 2_000,
    contracts: bool = True,
) -> jax.Array:
    """``x`` with ``x + g(x, params) = z``, by the Banach iteration ``x <- z - g(x)`` from ``x = z``.

    The error shrinks by the Lipschitz constant ``L`` of ``g`` at every iteration; one that ended on a step of size
    ``s`` is within ``s L / (1 - L)`` of the solution. Events that have converged rest, so the result for one does not
    depend on its neighbours in the batch.

    Derivatives of any order, forward and reverse, come from the implicit function theorem, not through the loop:
    ``(I + dg/dx) dx = dz - (dg/dparams) dparams``, solved by the Neumann series ``dx <- rhs - (dg/dx) dx``.

    Args:
      g: see the module; pass the same object every time, it keys the cache of the compiled loops.
      params: pytree of arrays.
      z: floating point, ``[*batch, *event]``.
      event_ndim: number of axes of an event.
      tolerance: size of a step, relative to ``|x| + |z|``, that ends the iteration; default ``2 eps`` of the dtype.
      max_iterations: bound on the iterations.
      contracts: False if ``g`` is no contraction but nilpotent, e.g. autoregressive. Its steps may shrink and grow
        again, so a step that grows is not taken for rounding; give ``tolerance=0.0`` as well.

    Returns:
      Shape and dtype of ``z``. NaN for events that did not converge, to ``sqrt(eps)`` or ``tolerance`` if larger:
      ``g`` does not contract there, or so little that it needs more iterations.

    Source: Behrmann et al., 2019, arXiv:1811.00995, algorithm 1.
    """
    if tolerance is None:
        tolerance = 2 * float(jnp.finfo(z.dtype).eps)
    return _fixed_point(
        g, (event_ndim, tolerance, max_iterations, contracts), *varying((params, z))
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _fixed_point(
    g: Branch, options: tuple[int, float, int, bool], params: Any, z: jax.Array
) -> jax.Array:
    return _solve(g, options, params, z)


@_fixed_point.defjvp
def _fixed_point_jvp(
    g: Branch, options: tuple[int, float, int, bool], primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    params, z = primals
    params_dot, z_dot = tangents
    # Not _solve: the implicit rule then holds for the second derivative too.
    x = _fixed_point(g, options, params, z)
    _, from_params = jax.jvp(lambda p: g(x, p), (params,), (params_dot,))
    return x, _solve_tangent(g, options, params, x, z_dot - from_params)


# Compiled here, since an eager while_loop with fresh closures would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve(
    g: Branch, options: tuple[int, float, int, bool], params: Any, z: jax.Array
) -> jax.Array:
    return _iterate(lambda x: z - g(x, params), z, *options)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve_tangent(
    g: Branch, options: tuple[int, float, int, bool], params: Any, x: jax.Array, rhs: jax.Array
) -> jax.Array:
    _, jacobian = jax.linearize(lambda x: g(x, params), x)

    def solve(matvec: Callable[[jax.Array], jax.Array], b: jax.Array) -> jax.Array:
        return _iterate(lambda v: v + (b - matvec(v)), b, *options)

    return jax.lax.custom_linear_solve(lambda v: v + jacobian(v), rhs, solve, solve)


def _iterate(
    step: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    event_ndim: int,
    tolerance: float,
    max_iterations: int,
    contracts: bool,  # noqa: FBT001 - one of the packed options
) -> jax.Array:
    eps = float(jnp.finfo(start.dtype).eps)
    noise = max(tolerance, _NOISE * eps) if contracts else 0.0
    found = max(tolerance, math.sqrt(eps))
    norm_start = _norm(start, event_ndim)

    def unfinished(state: _State) -> jax.Array:
        iteration, *_, done = state
        return (iteration < max_iterations) & ~done.all()

    def body(state: _State) -> _State:
        iteration, x, old, scale, done = state
        new = step(x)
        size = _norm(new - x, event_ndim)
        new_scale = _norm(new, event_ndim) + norm_start
        converged = (
            (size <= tolerance * new_scale)
            | ((size >= old) & (size <= noise * new_scale))
            | ~jnp.isfinite(size)
        )
        return (
            iteration + 1,
            jnp.where(done, x, new),
            jnp.where(done, old, size),
            jnp.where(done, scale, new_scale),
            done | converged,
        )

    state = (
        jnp.zeros((), jnp.int32),
        start,
        jnp.full_like(norm_start, jnp.inf),
        norm_start,
        jnp.zeros(norm_start.shape, bool),
    )
    _, x, size, scale, _ = jax.lax.while_loop(unfinished, body, varying(state))
    # An overflow leaves infinity on both sides of the comparison.
    return jnp.where((size <= found * scale) & jnp.isfinite(scale), x, jnp.full_like(x, jnp.nan))


def _norm(x: jax.Array, event_ndim: int) -> jax.Array:
    return jnp.sqrt((x * x).sum(tuple(range(-event_ndim, 0)), keepdims=True))
