"""Maps of the circle: rotations, and splines that close. Angles are in radians, from ``-pi`` to ``pi``.

What lies outside is no angle: its log-derivative is ``-inf``.

Source: Rezende et al., 2020, *Normalizing flows on tori and spheres*, arXiv:2002.02428, section 2.1.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from dgmjax.bijectors.spline import SplineTransformer, between_knots_forward, between_knots_inverse
from dgmjax.checks import widened
from dgmjax.numerics import ends


def wrapped(x: jax.Array) -> jax.Array:
    """The angle ``x + 2 pi k`` in ``[-pi, pi)``, any shape; ``pi`` itself where rounding leaves no other number."""
    return jnp.mod(x + math.pi, 2.0 * math.pi) - math.pi


def _on_circle(angle: jax.Array, log_derivative: jax.Array) -> jax.Array:
    return ends.outside(jnp.abs(angle) > math.pi, log_derivative)


@dataclasses.dataclass(frozen=True)
class RotationTransformer:
    """``x = z + shift`` modulo ``2 pi``: one parameter an element; all-zero parameters are the identity."""

    num_params: ClassVar[int] = 1
    on_circle: ClassVar[bool] = True

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 1]``; the log-derivative is 0."""
        return wrapped(z + params[..., 0]), _on_circle(z, jnp.zeros_like(z))

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 1]``; the log-derivative is 0."""
        return wrapped(x - params[..., 0]), _on_circle(x, jnp.zeros_like(x))


@dataclasses.dataclass(frozen=True)
class CircularSplineTransformer:
    """A rational-quadratic spline of the circle onto itself that keeps ``pi``; ``3K`` parameters an element.

    The ends ``-pi`` and ``pi`` are one point, with one derivative, so the density is continuous there as everywhere.
    Parameters as in `SplineTransformer`, with the derivative at ``pi`` as the last. Behind a `RotationTransformer`
    the point that is kept is learned too.

    Attributes:
      num_bins: K, at least 1.
      min_bin: smallest width and height of a bin, as a fraction of ``2 pi``.
      min_derivative: smallest derivative at a knot, below 1.

    Raises:
      ValueError: an argument out of range.
    """

    num_bins: int
    min_bin: float = 1e-3
    min_derivative: float = 1e-3
    on_circle: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Reject bad arguments at construction."""
        self._spline  # noqa: B018 - checks

    @property
    def num_params(self) -> int:
        """Parameters an element."""
        return 3 * self.num_bins

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 3K]``; log-derivative elementwise."""
        x, log_derivative = between_knots_forward(wrapped(widened(z)), *self._knots(params))
        return x.astype(z.dtype), _on_circle(z, log_derivative.astype(z.dtype))

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 3K]``; log-derivative elementwise."""
        z, log_derivative = between_knots_inverse(wrapped(widened(x)), *self._knots(params))
        return z.astype(x.dtype), _on_circle(x, log_derivative.astype(x.dtype))

    @property
    def _spline(self) -> SplineTransformer:
        return SplineTransformer(self.num_bins, math.pi, self.min_bin, self.min_derivative)

    def _knots(self, params: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Knots on both axes and the derivatives there, of which the first is the last."""
        x_knots, y_knots, derivatives = self._spline.knots(widened(params))
        inner = derivatives[..., 1:-1]
        return x_knots, y_knots, jnp.concatenate([inner[..., -1:], inner], axis=-1)
