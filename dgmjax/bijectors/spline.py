"""Monotone rational-quadratic splines: elementwise, with a closed-form inverse.

Bin ``k`` between knots ``(x_k, y_k)`` and ``(x_{k+1}, y_{k+1})`` with derivatives ``d_k, d_{k+1}`` and chord slope
``s = (y_{k+1} - y_k) / (x_{k+1} - x_k)``; ``t`` is the position in the bin, from 0 to 1, and ``r = 1 - t``.

Source: Durkan et al., 2019, *Neural Spline Flows*, arXiv:1906.04032, section 3.1; Gregory and Delbourgo, 1982.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.checks import widened

# Of rounding, that the narrowest bin must have.
_STEPS = 8


class _Bin(NamedTuple):
    """The corner, the sizes and the derivatives of the bin of every element, and the bin's chord slope."""

    left: jax.Array
    bottom: jax.Array
    width: jax.Array
    height: jax.Array
    first: jax.Array
    second: jax.Array
    slope: jax.Array


@functools.partial(jax.jit, inline=True)
def spline_forward(
    z: jax.Array, x_knots: jax.Array, y_knots: jax.Array, derivatives: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``y_k + h (s t^2 + d_k t r) / (s (t^2 + r^2) + (d_k + d_{k+1}) t r)`` inside the knots, identity outside.

    The denominator equals ``s + (d_k + d_{k+1} - 2 s) t r`` of the paper and has no cancellation.

    Args:
      z: any shape ``[...]``.
      x_knots: increasing, ``[..., K + 1]``, of the rank of ``z`` plus 1.
      y_knots: increasing, ``[..., K + 1]``, with the same end points as ``x_knots``.
      derivatives: positive, at the knots, ``[..., K + 1]``; 1 at both ends for a smooth join.

    Returns:
      The image and the elementwise log-derivative, with the shape of ``z``.

    Source: Durkan et al., 2019, arXiv:1906.04032, equations 4 and 5.
    """
    inside, safe = _inside(z, x_knots)
    x, log_derivative = between_knots_forward(safe, x_knots, y_knots, derivatives)
    return jnp.where(inside, x, z), jnp.where(inside, log_derivative, _outside(z))


@functools.partial(jax.jit, inline=True)
def spline_inverse(
    x: jax.Array, x_knots: jax.Array, y_knots: jax.Array, derivatives: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The root ``t`` of the quadratic of the bin, in closed form; the inverse of `spline_forward`.

    With ``w = (x - y_k) / h``, ``v = 1 - w`` and ``g = d_k v - d_{k+1} w``, the coefficients of the paper give
    the discriminant ``g^2 + 4 s^2 w v``: a sum of positive terms, and ``t = 2 s w / (2 s w + g + sqrt(...))``.

    Returns:
      The preimage and the elementwise log-derivative, with the shape of ``x``.

    Source: Durkan et al., 2019, arXiv:1906.04032, equations 6 to 8.
    """
    inside, safe = _inside(x, y_knots)
    z, log_derivative = between_knots_inverse(safe, x_knots, y_knots, derivatives)
    return jnp.where(inside, z, x), jnp.where(inside, log_derivative, _outside(x))


def between_knots_forward(
    z: jax.Array, x_knots: jax.Array, y_knots: jax.Array, derivatives: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`spline_forward` of numbers from the first to the last knot, both included."""
    b = _find_bin(z, x_knots, x_knots, y_knots, derivatives)
    t = (z - b.left) / b.width
    r = (b.left + b.width - z) / b.width
    x = b.bottom + b.height * (b.slope * t**2 + b.first * t * r) / _denominator(t, r, b)
    return x, _log_derivative(t, r, b)


def between_knots_inverse(
    x: jax.Array, x_knots: jax.Array, y_knots: jax.Array, derivatives: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`spline_inverse` of numbers from the first to the last knot, both included."""
    b = _find_bin(x, y_knots, x_knots, y_knots, derivatives)
    w = (x - b.bottom) / b.height
    v = (b.bottom + b.height - x) / b.height
    g = b.first * v - b.second * w
    product = 4.0 * b.slope**2 * w * v
    magnitude = jnp.sqrt(g**2 + product) + jnp.abs(g)
    # g + sqrt(g^2 + product), in the form that does not subtract.
    rest = jnp.where(g >= 0, magnitude, product / magnitude)
    total = 2.0 * b.slope * w + rest
    t, r = 2.0 * b.slope * w / total, rest / total
    return b.left + b.width * t, -_log_derivative(t, r, b)


@dataclasses.dataclass(frozen=True)
class SplineTransformer:
    """A rational-quadratic spline on ``[-bound, bound]``, identity outside; ``3K - 1`` parameters an element.

    The parameters of an element are ``(widths[K], heights[K], derivatives[K - 1])``, unconstrained: bins are
    ``2 bound (m + (1 - K m) softmax(raw))``, inner derivatives ``m' + softplus(raw + c)`` with ``c`` such that
    ``raw = 0`` gives 1. All-zero parameters are the identity. Standardize data first: outside the bound an element
    passes through unchanged. Values and parameters of 16 bits are computed in float32, whose steps are narrower than
    bins.

    Attributes:
      num_bins: K, at least 1.
      bound: half the width of the square of the spline.
      min_bin: ``m``, smallest width and height as a fraction of ``2 bound``.
      min_derivative: ``m'``, smallest derivative at an inner knot, below 1.

    Raises:
      ValueError: an argument out of range, or bins that the dtype in use does not tell apart (when they are used).
    """

    num_bins: int
    bound: float = 3.0
    min_bin: float = 1e-3
    min_derivative: float = 1e-3

    def __post_init__(self) -> None:
        """Reject bad arguments at construction, not at the first trace."""
        if self.num_bins < 1:
            raise ValueError(
                f"SplineTransformer: expected num_bins of at least 1, got {self.num_bins}."
            )
        if not self.bound > 0:
            raise ValueError(f"SplineTransformer: expected a positive bound, got {self.bound}.")
        if not 0 < self.min_bin * self.num_bins < 1:
            raise ValueError(
                f"SplineTransformer: expected min_bin between 0 and 1 / num_bins = {1 / self.num_bins}, got "
                f"{self.min_bin}."
            )
        if not 0 < self.min_derivative < 1:
            raise ValueError(
                f"SplineTransformer: expected min_derivative between 0 and 1, got {self.min_derivative}."
            )

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return 3 * self.num_bins - 1

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 3K - 1]``; log-derivative elementwise."""
        return self._apply(spline_forward, z, params)

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 3K - 1]``; log-derivative elementwise."""
        return self._apply(spline_inverse, x, params)

    def _apply(
        self, function: Callable[..., tuple[jax.Array, jax.Array]], x: jax.Array, params: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        value, log_derivative = function(widened(x), *self.knots(widened(params)))
        return value.astype(x.dtype), log_derivative.astype(x.dtype)

    def knots(self, params: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Knots on both axes and the derivatives there, each ``[..., K + 1]``, for `spline_forward`."""
        count = self.num_bins
        eps = float(jnp.finfo(params.dtype).eps)
        if self.min_bin < _STEPS * eps:
            raise ValueError(
                f"SplineTransformer: bins of min_bin = {self.min_bin:g} of the width are narrower than {_STEPS} steps "
                f"of {params.dtype} ({_STEPS * eps:.2g} of it); use a larger min_bin (and at most 1 / min_bin bins)."
            )
        widths, heights, raw = jnp.split(params, [count, 2 * count], axis=-1)
        offset = math.log(math.expm1(1.0 - self.min_derivative))
        inner = self.min_derivative + jax.nn.softplus(raw + offset)
        ends = ((0, 0),) * (params.ndim - 1) + ((1, 1),)
        derivatives = jnp.pad(inner, ends, constant_values=1.0)
        return self._positions(widths), self._positions(heights), derivatives

    def _positions(self, raw: jax.Array) -> jax.Array:
        free = 1.0 - self.num_bins * self.min_bin
        fractions = self.min_bin + free * jax.nn.softmax(raw, axis=-1)
        inner = self.bound * (2.0 * jnp.cumsum(fractions[..., :-1], axis=-1) - 1.0)
        end = jnp.full_like(raw[..., :1], self.bound)
        # The ends are exact, so that no point of the interval falls beyond the last knot.
        return jnp.concatenate([-end, inner, end], axis=-1)


def _inside(value: jax.Array, knots: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether the value is inside the knots, and the value or, outside, a point inside for finite gradients."""
    inside = (value > knots[..., 0]) & (value < knots[..., -1])
    return inside, jnp.where(inside, value, knots[..., 0])


def _outside(value: jax.Array) -> jax.Array:
    """The log-derivative of the identity; NaN of NaN."""
    return jnp.where(jnp.isnan(value), value, jnp.zeros_like(value))


def _find_bin(
    value: jax.Array,
    along: jax.Array,
    x_knots: jax.Array,
    y_knots: jax.Array,
    derivatives: jax.Array,
) -> _Bin:
    """The bin of ``value``, searched in the knots ``along`` its axis."""
    index = (value[..., None] >= along[..., 1:-1]).sum(-1)
    # A sum over a mask instead of a gather, whose gradient would be a scatter.
    chosen = jax.nn.one_hot(index, along.shape[-1] - 1, dtype=value.dtype)

    def pick(table: jax.Array) -> jax.Array:
        return (chosen * table).sum(-1)

    left, bottom = pick(x_knots[..., :-1]), pick(y_knots[..., :-1])
    width, height = pick(x_knots[..., 1:]) - left, pick(y_knots[..., 1:]) - bottom
    first, second = pick(derivatives[..., :-1]), pick(derivatives[..., 1:])
    return _Bin(left, bottom, width, height, first, second, height / width)


def _denominator(t: jax.Array, r: jax.Array, b: _Bin) -> jax.Array:
    return b.slope * (t**2 + r**2) + (b.first + b.second) * t * r


def _log_derivative(t: jax.Array, r: jax.Array, b: _Bin) -> jax.Array:
    """Log of the derivative of the spline at ``t``: equation 5, as positive terms only."""
    numerator = b.second * t**2 + 2.0 * b.slope * t * r + b.first * r**2
    return 2.0 * (jnp.log(b.slope) - jnp.log(_denominator(t, r, b))) + jnp.log(numerator)
