"""Normal and logistic distributions conditioned on an interval ``[low, high]``.

With ``z = (x - loc) / s``, ``a = (low - loc) / s``, ``b = (high - loc) / s`` and the standard density ``f``::

    log p(x) = log f(z) - log s - log(F(b) - F(a))        F_trunc(x) = (F(z) - F(a)) / (F(b) - F(a))

Everything is elementwise over arguments that broadcast without new axes of their own (scalars and equal shapes);
``log_scale`` is the natural log of ``s``; ``low < high`` are finite. The mass of the interval is taken relative to the
density at the point of the interval nearest to ``loc``, so an interval in a far tail, or much narrower than a scale,
loses no digits of its own. What remains is the rounding of ``z``: an error of ``eps z^2`` nats for the normal (4e-6
at 8 scales, 4e-4 at 100 in float32), ``eps |z|`` for the logistic, and ``eps |z|`` scales in the quantiles.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid
from jax.scipy.special import erf, log_ndtr, ndtri
from jax.typing import ArrayLike

from dgmjax.densities._arguments import broadcast_arguments
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.tails import erfcx

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class _Standard(NamedTuple):
    """A standard symmetric density ``f``, decreasing in ``|z|``.

    Attributes:
      log_ratio: ``(z, m) -> log f(z) - log f(m)``.
      log_mass: ``(a, b) -> log((F(b) - F(a)) / f(m))`` for ``a < b``, ``a + b >= 0``, ``m = max(a, 0)``.
      log_cdf: ``log F``.
      quantile: ``(log F, log(1 - F)) -> z``, a good guess.
    """

    log_ratio: Callable[[jax.Array, jax.Array], jax.Array]
    log_mass: Callable[[jax.Array, jax.Array], jax.Array]
    log_cdf: Callable[[jax.Array], jax.Array]
    quantile: Callable[[jax.Array, jax.Array], jax.Array]


@compiled
def truncated_normal_log_prob(
    x: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``log N(x; loc, s^2) - log(Phi(b) - Phi(a))`` in nats; ``-inf`` outside ``[low, high]``; shape of ``x``."""
    return _log_prob(_NORMAL, x, loc, log_scale, low, high)


@compiled
def truncated_normal_cdf(
    x: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``(Phi(z) - Phi(a)) / (Phi(b) - Phi(a))``; 0 below and 1 above the interval; shape of ``x``."""
    return _cdf(_NORMAL, x, loc, log_scale, low, high)


@compiled
def truncated_normal_icdf(
    p: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``x`` in ``[low, high]`` with `truncated_normal_cdf` ``p``; first derivatives are implicit; shape of ``p``."""
    return _icdf(_NORMAL, p, loc, log_scale, low, high)


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
    return _sample(_NORMAL, key, (loc, log_scale, low, high), sample_shape)


@compiled
def truncated_logistic_log_prob(
    x: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``log f(z) - log s - log(sigmoid(b) - sigmoid(a))`` in nats; ``-inf`` outside; shape of ``x``."""
    return _log_prob(_LOGISTIC, x, loc, log_scale, low, high)


@compiled
def truncated_logistic_cdf(
    x: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``(sigmoid(z) - sigmoid(a)) / (sigmoid(b) - sigmoid(a))``; 0 below and 1 above; shape of ``x``."""
    return _cdf(_LOGISTIC, x, loc, log_scale, low, high)


@compiled
def truncated_logistic_icdf(
    p: jax.Array, loc: ArrayLike, log_scale: ArrayLike, low: ArrayLike, high: ArrayLike
) -> jax.Array:
    """``x`` in ``[low, high]`` with `truncated_logistic_cdf` ``p``; first derivatives are implicit; shape of ``p``."""
    return _icdf(_LOGISTIC, p, loc, log_scale, low, high)


@compiled
def truncated_logistic_sample(
    key: jax.Array,
    loc: ArrayLike,
    log_scale: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    sample_shape: tuple[int, ...] = (),
) -> jax.Array:
    """``F_trunc^-1(u)``, ``u ~ U(0, 1)``: ``[*sample_shape, *broadcast shape of the parameters]``, reparametrized."""
    return _sample(_LOGISTIC, key, (loc, log_scale, low, high), sample_shape)


def _log_prob(
    f: _Standard,
    x: jax.Array,
    loc: ArrayLike,
    log_scale: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
) -> jax.Array:
    x, loc, log_scale, low, high = broadcast_arguments(x, loc, log_scale, low, high)
    beyond = (x < low) | (x > high)
    # The density is taken inside even where it is not used, so that its gradient is finite everywhere.
    z, a, b = _standardize(jnp.where(beyond, low, x), loc, log_scale, low, high)
    log_mass, m = _mass(f, a, b)
    return ends.outside(beyond, f.log_ratio(z, m) - log_mass - log_scale)


def _cdf(
    f: _Standard,
    x: jax.Array,
    loc: ArrayLike,
    log_scale: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
) -> jax.Array:
    x, loc, log_scale, low, high = broadcast_arguments(x, loc, log_scale, low, high)
    below, above = x <= low, x >= high
    middle = 0.5 * low + 0.5 * high
    z, a, b = _standardize(jnp.where(below | above, middle, x), loc, log_scale, low, high)
    share = _share(f, a, z, _mass(f, a, b))
    return ends.outside(above, ends.outside(below, share, 0.0), 1.0)


def _icdf(
    f: _Standard,
    p: jax.Array,
    loc: ArrayLike,
    log_scale: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
) -> jax.Array:
    p, loc, log_scale, low, high = broadcast_arguments(p, loc, log_scale, low, high)
    limits = jnp.finfo(p.dtype)
    p = jnp.clip(p, limits.tiny, 1.0 - limits.epsneg)
    _, a, b = _standardize(low, loc, log_scale, low, high)
    log_mass, m = whole = _mass(f, a, b)
    log_total = log_mass + f.log_ratio(m, jnp.zeros_like(m)) + _log_peak(f)
    log_lower = jnp.logaddexp(f.log_cdf(a), jnp.log(p) + log_total)
    log_upper = jnp.logaddexp(f.log_cdf(-b), jnp.log1p(-p) + log_total)
    z = jax.lax.stop_gradient(jnp.clip(f.quantile(log_lower, log_upper), a, b))
    # One Newton step on the tail that is smaller: it restores the digits that narrow intervals lost in the guess,
    # and from a constant z its derivative is the implicit one.
    lower = p < 0.5
    share = _share(f, jnp.where(lower, a, z), jnp.where(lower, z, b), whole)
    missing = jnp.where(lower, p - share, share - (1.0 - p))
    # Where the density underflows the step does too; infinity times zero must not get into gradients.
    steepest = math.log(float(limits.max)) - 1.0
    z = z + missing * jnp.exp(jnp.minimum(log_mass - f.log_ratio(z, m), steepest))
    return jnp.clip(loc + jnp.exp(log_scale) * z, low, high)


def _sample(
    f: _Standard, key: jax.Array, parameters: tuple[ArrayLike, ...], sample_shape: tuple[int, ...]
) -> jax.Array:
    arrays = [jnp.asarray(a) for a in parameters]
    shape = (*sample_shape, *np.broadcast_shapes(*(a.shape for a in arrays)))
    u = jax.random.uniform(key, shape, jnp.result_type(*arrays))
    return _icdf(f, u, *(jnp.broadcast_to(a, shape) for a in arrays))


def _standardize(
    x: jax.Array, loc: jax.Array, log_scale: jax.Array, low: jax.Array, high: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    inverse_scale = jnp.exp(-log_scale)
    return (x - loc) * inverse_scale, (low - loc) * inverse_scale, (high - loc) * inverse_scale


def _mass(f: _Standard, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``log((F(b) - F(a)) / f(m))`` and ``m >= 0``, the distance of ``[a, b]`` from 0."""
    # The density is symmetric: the interval is mirrored to the right side, where tails keep their digits.
    left = a + b < 0
    a, b = jnp.where(left, -b, a), jnp.where(left, -a, b)
    return f.log_mass(a, b), jnp.maximum(a, 0.0)


def _share(
    f: _Standard, a: jax.Array, b: jax.Array, whole: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """``(F(b) - F(a)) / whole``."""
    log_mass, m = _mass(f, a, b)
    return jnp.exp(log_mass - whole[0] + f.log_ratio(m, whole[1]))


def _log_peak(f: _Standard) -> float:
    return -0.5 * math.log(2.0 * math.pi) if f is _NORMAL else -2.0 * math.log(2.0)


def _normal_log_mass(a: jax.Array, b: jax.Array) -> jax.Array:
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
    heights = jnp.exp(_normal_log_ratio(center[None] + half[None] * nodes, nearest[None]))
    mean = (weights * heights).sum(0)
    tail = (a > 0) & ~narrow
    start, end = jnp.where(tail, a, 1.0), jnp.where(tail, b, 4.0)
    beyond = _mills(start) - jnp.exp(_normal_log_ratio(end, start)) * _mills(end)
    around = (a <= 0) & ~narrow
    start, end = jnp.where(around, a, -1.0), jnp.where(around, b, 1.0)
    inside = math.sqrt(0.5 * math.pi) * (erf(end * math.sqrt(0.5)) - erf(start * math.sqrt(0.5)))
    # Log by log: half of the smallest width is 0.
    log_narrow = jnp.log(jnp.where(narrow, width, 1.0)) + jnp.log(mean)
    return jnp.where(narrow, log_narrow, jnp.log(jnp.where(tail, beyond, inside)))


def _normal_log_ratio(z: jax.Array, m: jax.Array) -> jax.Array:
    return -0.5 * (jnp.abs(z) - m) * (jnp.abs(z) + m)


def _mills(z: jax.Array) -> jax.Array:
    """``(1 - Phi(z)) / phi(z)``."""
    return math.sqrt(0.5 * math.pi) * erfcx(z * math.sqrt(0.5))


def _normal_quantile(log_lower: jax.Array, log_upper: jax.Array) -> jax.Array:
    log_tail = jnp.minimum(jnp.minimum(log_lower, log_upper), math.log(0.5))
    # ndtri underflows far out; there log(1 - Phi(z)) is nearly -z^2/2 - log z - log(2 pi)/2.
    far = log_tail < -30.0
    y = jnp.where(far, log_tail, -31.0)
    square = -2.0 * y - math.log(2.0 * math.pi)
    z = jnp.where(far, jnp.sqrt(square - jnp.log(square)), -ndtri(jnp.exp(log_tail)))
    z = jax.lax.fori_loop(0, 2, lambda _, z: z + (log_ndtr(-z) - log_tail) * _mills(z), z)
    return jnp.where(log_lower < log_upper, -z, z)


def _logistic_log_mass(a: jax.Array, b: jax.Array) -> jax.Array:
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), and f(m) = sigmoid(m) sigmoid(-m).
    m = jnp.maximum(a, 0.0)
    lower = log_sigmoid(b) - log_sigmoid(m)
    # With a = m both terms are huge and equal.
    upper = jnp.where(a > 0, jnp.zeros_like(a), log_sigmoid(-a) + math.log(2.0))
    return lower + upper + jnp.log(-jnp.expm1(-_width(a, b)))


def _logistic_log_ratio(z: jax.Array, m: jax.Array) -> jax.Array:
    z = jnp.abs(z)
    return (m - z) + 2.0 * (log_sigmoid(z) - log_sigmoid(m))


def _width(a: jax.Array, b: jax.Array) -> jax.Array:
    # An empty interval has the log-mass of the smallest float, with zero gradient, instead of -inf.
    return jnp.maximum(b - a, jnp.finfo(a.dtype).tiny)


_NORMAL = _Standard(_normal_log_ratio, _normal_log_mass, log_ndtr, _normal_quantile)
_LOGISTIC = _Standard(
    _logistic_log_ratio, _logistic_log_mass, log_sigmoid, lambda lower, upper: lower - upper
)
