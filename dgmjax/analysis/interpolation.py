"""Paths between two events through the latents of a model."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dgmjax.analysis.latents import Model, decode, encode, latent_shape, spread_context
from dgmjax.distributions.dequantization.dequantized import Dequantized
from dgmjax.distributions.flow import Flow
from dgmjax.numerics.compiled import compiled

PathKind = Literal["linear", "spherical", "spherical_levels"]


@compiled
def lerp(a: jax.Array, b: jax.Array, t: ArrayLike) -> jax.Array:
    """``(1 - t) a + t b``: ``[*t, *a.shape]``; exactly ``a`` at ``t = 0`` and ``b`` at ``t = 1``.

    Args:
      a: floating point, any shape.
      b: same shape.
      t: positions, any shape, e.g. ``jnp.linspace(0, 1, 9)``; outside ``[0, 1]`` it extrapolates.

    Raises:
      TypeError: integers.
      ValueError: ``a`` and ``b`` differ in shape.
    """
    a, b, t = _operands(a, b, t, "lerp")
    return _combined(a, b, 1 - t, t)


@compiled
def slerp(a: jax.Array, b: jax.Array, t: ArrayLike, *, event_ndim: int = 1) -> jax.Array:
    r"""Direction along the great circle, norm along a line: ``[*t, *batch, *event]``.

    .. math::
      x(t) = r(t) \left[\frac{\sin((1-t)\theta)}{\sin\theta} \frac{a}{\|a\|}
             + \frac{\sin(t\theta)}{\sin\theta} \frac{b}{\|b\|}\right], \quad r(t) = (1-t)\|a\| + t\|b\|

    with :math:`\theta` the angle between ``a`` and ``b``. The standard normal in many dimensions lives on a sphere,
    where straight lines cut through the inside. Exactly ``a`` at ``t = 0`` and ``b`` at ``t = 1``; for parallel events
    the limit of small angles, which is `lerp`, with finite gradients. Opposite events, and the event 0, have no such
    circle: their path is `lerp`.

    Args:
      a: floating point, ``[*batch, *event]``.
      b: same shape.
      t: positions, any shape.
      event_ndim: number of trailing axes that make one event.

    Raises:
      TypeError: integers.
      ValueError: ``a`` and ``b`` differ in shape, or have fewer axes than an event.

    Source: Shoemake, 1985, *Animating rotation with quaternion curves*; White, 2016, *Sampling generative networks*,
    arXiv:1609.04468, section 2.1. Both take unit norms; the linear norm is what makes the ends exact.
    """
    a, b, t = _operands(a, b, t, "slerp")
    if not 0 <= event_ndim <= a.ndim:
        raise ValueError(
            f"slerp: expected 0 <= event_ndim <= {a.ndim}, the axes of an array of shape {a.shape}, got {event_ndim}."
        )
    axes = tuple(range(-event_ndim, 0))
    norm_a, norm_b = _norm(a, axes), _norm(b, axes)
    u, v = a / _nonzero(norm_a), b / _nonzero(norm_b)
    # Accurate at all angles, unlike arccos (Kahan, 2006, "How futile are mindless assessments of roundoff").
    apart, together = _norm(u - v, axes), _norm(u + v, axes)
    theta = 2 * jnp.arctan2(apart, jnp.where(apart + together == 0, 1, together))
    opposite = jnp.pi - theta < 4 * jnp.sqrt(jnp.finfo(a.dtype).eps)
    straight = opposite | (norm_a == 0) | (norm_b == 0)

    theta, norm_a, norm_b, straight = (_lifted(x, t) for x in (theta, norm_a, norm_b, straight))
    theta = jnp.where(straight, 0, theta)
    # r(t) / |a| and r(t) / |b|, in a form that is exactly 1 at the end of a, or b.
    ratio_a = 1 + t * (norm_b / _nonzero(norm_a) - 1)
    ratio_b = 1 + (1 - t) * (norm_a / _nonzero(norm_b) - 1)
    weight_a = _sine_ratio(1 - t, theta) * jnp.where(straight, 1, ratio_a)
    weight_b = _sine_ratio(t, theta) * jnp.where(straight, 1, ratio_b)
    return weight_a * _lifted(a, t) + weight_b * _lifted(b, t)


@compiled
def interpolate(
    model: Model,
    x1: jax.Array,
    x2: jax.Array,
    num: int,
    *,
    kind: PathKind = "linear",
    context: jax.Array | None = None,
    context2: jax.Array | None = None,
) -> jax.Array:
    """``decode(path(encode(x1), encode(x2), t))`` at ``num`` even positions from 0 to 1: ``[num, *batch, *event]``.

    The first and the last are ``x1`` and ``x2`` as far as `decode` inverts `encode`: those themselves of a flow, their
    reconstructions of an autoencoder.

    Args:
      model: any that `encode` takes: flows, dequantized flows, autoencoders of all kinds.
      x1: events ``[*batch, *event]``.
      x2: same shape.
      num: positions, the ends included.
      kind: see `decode_path`.
      context: ``[*batch, *context_shape]`` or one row, for a conditional model; both ends share it.
      context2: that of ``x2``, if it has another: the condition then goes straight from one to the other.

    Raises:
      TypeError: as `encode`.
      ValueError: as `encode`, different shapes, fewer than two positions, or another kind.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> flow = dgm.Flow(dgm.DiagonalLinear((2,)))
      >>> dgm.analysis.interpolate(flow, jnp.zeros(2), jnp.ones(2), 3).tolist()
      [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 6.2.
    """
    _check_path(num, kind, "interpolate")
    if jnp.shape(x1) != jnp.shape(x2):
        raise ValueError(
            f"interpolate: expected x1 and x2 of one shape, got {jnp.shape(x1)} and {jnp.shape(x2)}; broadcast one "
            f"with jnp.broadcast_to."
        )
    eps1 = encode(model, x1, context)
    eps2 = encode(model, x2, context if context2 is None else context2)
    return decode_path(model, eps1, eps2, num, kind=kind, context=context, context2=context2)


@compiled
def decode_path(
    model: Model,
    eps1: jax.Array,
    eps2: jax.Array,
    num: int,
    *,
    kind: PathKind = "linear",
    context: jax.Array | None = None,
    context2: jax.Array | None = None,
) -> jax.Array:
    """`decode` of ``num`` latents at even positions between two: ``[num, *batch, *event]``; needs no encoder.

    Args:
      model: any that `decode` takes.
      eps1: latents ``[*batch, *latent]``, of `encode` or drawn.
      eps2: same shape.
      num: positions, the ends included.
      kind: ``"linear"`` (`lerp`, as in the paper), ``"spherical"`` (`slerp` of whole events) or ``"spherical_levels"``
        (`slerp` of the latents of each level of a flow with a `dgmjax.MultiScale`).
      context: as in `interpolate`.
      context2: as in `interpolate`.

    Raises:
      TypeError: as `decode`.
      ValueError: as `decode`, different shapes, fewer than two positions, another kind, or levels of a model without.
    """
    _check_path(num, kind, "decode_path")
    if context2 is not None and context is None:
        raise ValueError(
            "decode_path: context2 is the condition of the second end; pass context too."
        )
    event_ndim = len(latent_shape(model, where="decode_path"))
    eps1, eps2 = jnp.asarray(eps1), jnp.asarray(eps2)
    t = jnp.linspace(0, 1, num, dtype=eps1.dtype)
    if kind == "linear":
        path = lerp(eps1, eps2, t)
    elif kind == "spherical":
        path = slerp(eps1, eps2, t, event_ndim=event_ndim)
    else:
        path = _path_of_levels(model, eps1, eps2, t)
    batch = path.shape[: path.ndim - event_ndim]
    if context2 is not None:
        shape = (*batch[1:], *model.context_shape)
        ends = [jnp.broadcast_to(jnp.asarray(c, eps1.dtype), shape) for c in (context, context2)]
        return decode(model, path, lerp(ends[0], ends[1], t))
    return decode(model, path, spread_context(model, context, batch))


def _check_path(num: int, kind: str, where: str) -> None:
    if num < 2:
        raise ValueError(f"{where}: num counts both ends: expected at least 2, got {num}.")
    if kind not in get_args(PathKind):
        raise ValueError(
            f"{where}: kind: expected one of {list(get_args(PathKind))}, got {kind!r}."
        )


def _path_of_levels(model: Model, eps1: jax.Array, eps2: jax.Array, t: jax.Array) -> jax.Array:
    flow = model.density if isinstance(model, Dequantized) else model
    if not isinstance(flow, Flow):
        raise ValueError(
            f"kind 'spherical_levels' is for flows with a MultiScale; {type(model).__name__} has none: use "
            f"'spherical'."
        )
    levels = flow.multi_scale
    pairs = zip(levels.split_latents(eps1), levels.split_latents(eps2), strict=True)
    return levels.join_latents([slerp(a, b, t, event_ndim=3) for a, b in pairs])


def _operands(
    a: jax.Array, b: jax.Array, t: ArrayLike, where: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Checked, with ``t`` in the dtype of ``a`` and an axis of size 1 for each of its axes."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    if not (jnp.issubdtype(a.dtype, jnp.floating) and a.dtype == b.dtype):
        raise TypeError(
            f"{where}: expected two floating-point arrays of one dtype, got {a.dtype} and {b.dtype}; integers are "
            f"interpolated through the latents of a model, see interpolate."
        )
    if a.shape != b.shape:
        raise ValueError(
            f"{where}: expected two arrays of one shape, got {a.shape} and {b.shape}; broadcast one with "
            f"jnp.broadcast_to."
        )
    t = jnp.asarray(t).astype(a.dtype)
    return a, b, t.reshape(*t.shape, *(1,) * a.ndim)


def _lifted(x: jax.Array, t: jax.Array) -> jax.Array:
    """``x`` with leading axes of size 1 for those of ``t``."""
    return x.reshape((1,) * (t.ndim - x.ndim) + x.shape)


def _combined(a: jax.Array, b: jax.Array, weight_a: jax.Array, weight_b: jax.Array) -> jax.Array:
    return weight_a * _lifted(a, weight_a) + weight_b * _lifted(b, weight_b)


def _sine_ratio(s: jax.Array, theta: jax.Array) -> jax.Array:
    """``sin(s theta) / sin(theta)``, exactly 0 and 1 at ``s = 0`` and 1; for small angles its Taylor polynomial.

    The next term is of order ``theta^4``, rounding at the threshold, below which derivatives of the quotient would
    lose their digits. At ``s = 1`` two sines need not round alike when compiled, so there the tangent stands for the
    quotient: it has the same value and first derivatives.
    """
    small = theta < jnp.finfo(theta.dtype).eps ** 0.25
    angle = jnp.where(small, 1, theta)
    series = s * (1 + (1 - s) * (1 + s) * jnp.square(theta) / 6)
    tangent = 1 + (s - 1) * angle / jnp.tan(angle)
    quotient = jnp.where(s == 1, tangent, jnp.sin(s * angle) / jnp.sin(angle))
    return jnp.where(small, series, quotient)


def _norm(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Euclidean norm over ``axes``, which stay with size 1; its gradient at 0 is 0 and not NaN."""
    square = jnp.square(x).sum(axes, keepdims=True)
    return jnp.where(square == 0, 0, jnp.sqrt(_nonzero(square)))


def _nonzero(x: jax.Array) -> jax.Array:
    """1 in place of 0: a divisor whose quotient is not used there."""
    return jnp.where(x == 0, 1, x)
