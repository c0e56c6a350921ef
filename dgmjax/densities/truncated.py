"""The normal distribution conditioned on an interval ``[low, high]``.

With ``z = (x - loc) / s``, ``a = (low - loc) / s``, ``b = (high - loc) / s``, the standard normal density ``f`` and its
cdf ``F``::

    log p(x) = log f(z) - log s - log(F(b) - F(a))        F_trunc(x) = (F(z) - F(a)) / (F(b) - F(a))

Everything is elementwise over arguments that broadcast without new axes of their own (scalars and equal shapes);
``log_scale`` is the natural log of ``s``; ``low < high`` are finite. The mass of the interval is taken relative to the
density at the point of the interval nearest to ``loc``, so an interval in a far tail, or much narrower than a scale,
loses no digits of its own. What remains is the rounding of ``z``: an error of ``eps z^2`` nats (in float32 4e-6 at 8
scales, 4e-4 at 100), and ``eps |z|`` scales in the quantiles.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, log_ndtr, ndtri
from jax.typing import ArrayLike

from dgmjax.densities._arguments import broadcast_arguments
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.tails import erfcx

_LOG_PEAK = -0.5 * math.log(2.0 * math.pi)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


@compiled
def truncated_normal_log_prob(
    x: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``log N(x; loc, s^2) - log(Phi(b) - Phi(a))`` in nats; ``-inf`` outside ``[low, high]``; shape of ``x``."""
    x, loc, log_scale, low, high = broadcast_arguments(x, loc, log_scale, low, high)
    beyond = (x < low) | (x > high)
    # The density is taken inside even where it is not used, so that its gradient is finite everywhere.
    z, a, b = _standardize(jnp.where(beyond, low, x), loc, log_scale, low, high)
    log_mass, m = _mass(a, b)
    return ends.outside(beyond, _log_ratio(z, m) - log_mass - log_scale)


@compiled
def truncated_normal_cdf(
    x: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``(Phi(z) - Phi(a)) / (Phi(b) - Phi(a))``; 0 below and 1 above the interval; shape of ``x``."""
    x, loc, log_scale, low, high = broadcast_arguments(x, loc, log_scale, low, high)
    below, above = x <= low, x >= high
    middle = 0.5 * low + 0.5 * high
    z, a, b = _standardize(jnp.where(below | above, middle, x), loc, log_scale, low, high)
    share = _share(a, z, _mass(a, b))
    return ends.outside(above, ends.outside(below, share, 0.0), 1.0)


@compiled
def truncated_normal_icdf(
    p: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``x`` in ``[low, high]`` with `truncated_normal_cdf` ``p``; first derivatives are implicit; shape of ``p``."""
    p, loc, log_scale, low, high = broadcast_arguments(p, loc, log_scale, low, high)
    limits = jnp.finfo(p.dtype)
    p = jnp.clip(p, limits.tiny, 1.0 - limits.epsneg)
    _, a, b = _standardize(low, loc, log_scale, low, high)
    log_mass, m = whole = _mass(a, b)
    log_total = log_mass + _log_ratio(m, jnp.zeros_like(m)) + _LOG_PEAK
    log_lower = jnp.logaddexp(log_ndtr(a), jnp.log(p) + log_total)
    log_upper = jnp.logaddexp(log_ndtr(-b), jnp.log1p(-p) + log_total)
    z = jax.lax.stop_gradient(jnp.clip(_quantile(log_lower, log_upper), a, b))
    # One Newton step on the tail that is smaller: it restores the digits that narrow intervals lost in the guess,
    # and from a constant z its derivative is the implicit one.
    lower = p < 0.5
    share = _share(jnp.where(lower, a, z), jnp.where(lower, z, b), whole)
    missing = jnp.where(lower, p - share, share - (1.0 - p))
    # Where the density underflows the step does too; infinity times zero must not get into gradients.
    steepest = math.log(float(limits.max)) - 1.0
    z = z + missing * jnp.exp(jnp.minimum(log_mass - _log_ratio(z, m), steepest))
    return jnp.clip(loc + jnp.exp(log_scale) * z, low, high)


@compiled
def truncated_normal_sample(
    key: jax.Array,
    loc: ArrayLike,
    log_scale: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    sample_shape: tuple[int, ...] = (),
) -> jax.Array:
    """``F_trunc^-1(u)``, ``u ~ U(0, 1)``: ``[*sample_shape, *broadcast shape of the parameters]``, reparametrized."""
    arrays = [jnp.asarray(a) for a in (loc, log_scale, low, high)]
    shape = (*sample_shape, *np.broadcast_shapes(*(a.shape for a in arrays)))
    u = jax.random.uniform(key, shape, jnp.result_type(*arrays))
    return truncated_normal_icdf(u, *(jnp.broadcast_to(a, shape) for a in arrays))


def _standardize(
    x: jax.Array, loc: jax.Array, log_scale: jax.Array, low: jax.Array, high: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    inverse_scale = jnp.exp(-log_scale)
    return (x - loc) * inverse_scale, (low - loc) * inverse_scale, (high - loc) * inverse_scale


def _mass(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``log((F(b) - F(a)) / f(m))`` and ``m >= 0``, the distance of ``[a, b]`` from 0."""
    # The density is symmetric: the interval is mirrored to the right side, where tails keep their digits.
    left = a + b < 0
    a, b = jnp.where(left, -b, a), jnp.where(left, -a, b)
    return _log_mass(a, b), jnp.maximum(a, 0.0)


def _share(a: jax.Array, b: jax.Array, whole: tuple[jax.Array, jax.Array]) -> jax.Array:
    """``(F(b) - F(a)) / whole``."""
    log_mass, m = _mass(a, b)
    return jnp.exp(log_mass - whole[0] + _log_ratio(m, whole[1]))


def _log_mass(a: jax.Array, b: jax.Array) -> jax.Array:
    width, middle, m = _width(a, b), 0.5 * (a + b), jnp.maximum(a, 0.0)
    # Over a narrow interval the density is smooth enough for 8 Gauss-Legendre nodes to be exact to 1e-16; over a
    # wide one a difference of tails loses nothing.
    narrow = width * (middle + 0.25 * width) <= 2.0
    half = jnp.where(narrow, 0.5 * width, 0.5)
    center, nearest = jnp.where(narrow, middle, 0.0), jnp.where(narrow, m, 0.0)
    nodes, weights = (
        jnp.asarray(table, a.dtype).reshape(-1, *(1,) * a.ndim)
        for table in (_NODES, 0.5 * _WEIGHTS)
    )
    heights = jnp.exp(_log_ratio(center[None] + half[None] * nodes, nearest[None]))
    mean = (weights * heights).sum(0)
    tail = (a > 0) & ~narrow
    start, end = jnp.where(tail, a, 1.0), jnp.where(tail, b, 4.0)
    beyond = _mills(start) - jnp.exp(_log_ratio(end, start)) * _mills(end)
    around = (a <= 0) & ~narrow
    start, end = jnp.where(around, a, -1.0), jnp.where(around, b, 1.0)
    inside = math.sqrt(0.5 * math.pi) * (erf(end * math.sqrt(0.5)) - erf(start * math.sqrt(0.5)))
    # Log by log: half of the smallest width is 0.
    log_narrow = jnp.log(jnp.where(narrow, width, 1.0)) + jnp.log(mean)
    return jnp.where(narrow, log_narrow, jnp.log(jnp.where(tail, beyond, inside)))


def _log_ratio(z: jax.Array, m: jax.Array) -> jax.Array:
    return -0.5 * (jnp.abs(z) - m) * (jnp.abs(z) + m)


def _mills(z: jax.Array) -> jax.Array:
    """``(1 - Phi(z)) / phi(z)``."""
    return math.sqrt(0.5 * math.pi) * erfcx(z * math.sqrt(0.5))


def _quantile(log_lower: jax.Array, log_upper: jax.Array) -> jax.Array:
    log_tail = jnp.minimum(jnp.minimum(log_lower, log_upper), math.log(0.5))
    # ndtri underflows far out; there log(1 - Phi(z)) is nearly -z^2/2 - log z - log(2 pi)/2.
    far = log_tail < -30.0
    y = jnp.where(far, log_tail, -31.0)
    square = -2.0 * y - math.log(2.0 * math.pi)
    z = jnp.where(far, jnp.sqrt(square - jnp.log(square)), -ndtri(jnp.exp(log_tail)))
    z = jax.lax.fori_loop(0, 2, lambda _, z: z + (log_ndtr(-z) - log_tail) * _mills(z), z)
    return jnp.where(log_lower < log_upper, -z, z)


def _width(a: jax.Array, b: jax.Array) -> jax.Array:
    # An empty interval has the log-mass of the smallest float, with zero gradient, instead of -inf.
    return jnp.maximum(b - a, jnp.finfo(a.dtype).tiny)
