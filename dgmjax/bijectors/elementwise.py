"""Increasing maps of one variable without parameters: leaky ReLU, softplus, tanh and sigmoid, with their transformers.

The sigmoid is `dgmjax.bijectors.logit_forward` with ``levels=1`` and ``alpha=0``. Each is also a
`dgmjax.bijectors.Transformer` with no parameters: for `dgmjax.Elementwise`, or composed with others.

The images of softplus, tanh and sigmoid are open intervals. Latent to data, what rounds to an end is the number next to
it. Data to latent, an end and what lies outside have the log-derivative ``-inf``, with zero gradients, and the latent
of the nearest number inside.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, softplus

from dgmjax.bijectors.logit import logit_forward, logit_inverse
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled


@compiled
def leaky_relu_forward(z: jax.Array, negative_slope: float) -> tuple[jax.Array, jax.Array]:
    """``x = z`` for ``z >= 0``, ``negative_slope * z`` below; elementwise, latent to data.

    Args:
      z: latent, any shape.
      negative_slope: positive.

    Returns:
      ``x`` and the elementwise log-derivative, ``0`` or ``log(negative_slope)``, both with the shape of ``z``.
    """
    log_derivative = jnp.where(z >= 0, jnp.zeros_like(z), math.log(negative_slope))
    return jnp.where(z >= 0, z, negative_slope * z), log_derivative


@compiled
def leaky_relu_inverse(x: jax.Array, negative_slope: float) -> tuple[jax.Array, jax.Array]:
    """``z = x`` for ``x >= 0``, ``x / negative_slope`` below: the inverse of `leaky_relu_forward`."""
    return leaky_relu_forward(x, 1.0 / negative_slope)


@compiled
def softplus_forward(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x = log(1 + exp(z)) > 0``, elementwise, latent to data.

    Returns:
      ``x`` and the elementwise log-derivative ``log sigmoid(z)``, both with the shape of ``z``. Where ``exp(z)``
      nearly underflows (``z < -82`` in float32), ``x`` is `dgmjax.numerics.ends.smallest`.
    """
    return jnp.maximum(softplus(z), ends.smallest(z.dtype)), log_sigmoid(z)


@compiled
def softplus_inverse(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``z = x + log(1 - exp(-x))`` for ``x > 0``, elementwise: the inverse of `softplus_forward`.

    Returns:
      ``z`` and the elementwise log-derivative ``-log(1 - exp(-x))``, both with the shape of ``x``; ``-inf`` for
      ``x <= 0``.
    """
    end = x <= 0
    x = ends.at_least(x, ends.smallest(x.dtype))
    # dx/dz = sigmoid(z) = 1 - exp(-x): taken from x, which still has digits where z rounds.
    log_slope = jnp.log(-jnp.expm1(-x))
    return x + log_slope, ends.outside(end, -log_slope)


@compiled
def tanh_forward(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x = tanh(z)`` in ``(-1, 1)``, elementwise, latent to data.

    Returns:
      ``x`` and the elementwise log-derivative ``log(1 - tanh(z)^2) = 2 (log 2 - |z| - softplus(-2 |z|))``, both with
      the shape of ``z``. From ``|z| = 9`` on ``x`` is the number next to 1 in float32.
    """
    # 1 - tanh^2 rounds to 0 where this form is still exact.
    log_derivative = 2.0 * (math.log(2.0) + log_sigmoid(2.0 * z) - z)
    last = 1.0 - float(jnp.finfo(z.dtype).epsneg)
    return jnp.clip(jnp.tanh(z), -last, last), log_derivative


@compiled
def tanh_inverse(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``z = artanh(x) = (log(1 + x) - log(1 - x)) / 2`` for ``|x| < 1``: the inverse of `tanh_forward`.

    Returns:
      ``z`` and the elementwise log-derivative ``-log(1 + x) - log(1 - x)``, both with the shape of ``x``; ``-inf`` for
      ``|x| >= 1``.
    """
    end = jnp.abs(x) >= 1
    x = ends.bounded(x, 1.0 - float(jnp.finfo(x.dtype).epsneg))
    log_right, log_left = jnp.log1p(x), jnp.log1p(-x)
    return 0.5 * (log_right - log_left), ends.outside(end, -log_right - log_left)


class _Fixed:
    """A transformer without parameters: the pair of pure functions that a subclass names."""

    num_params: ClassVar[int] = 0
    _forward: ClassVar[Callable[..., tuple[jax.Array, jax.Array]]]
    _inverse: ClassVar[Callable[..., tuple[jax.Array, jax.Array]]]

    def forward(self, z: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data; ``params`` has shape ``[*z.shape, 0]``; log-derivative elementwise."""
        del params
        return self._forward(z, *dataclasses.astuple(self))  # type: ignore[call-overload]

    def inverse(self, x: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent; ``params`` has shape ``[*x.shape, 0]``; log-derivative elementwise."""
        del params
        return self._inverse(x, *dataclasses.astuple(self))  # type: ignore[call-overload]


@dataclasses.dataclass(frozen=True)
class LeakyReLUTransformer(_Fixed):
    """``x = z`` for ``z >= 0``, ``negative_slope * z`` below: real data, piecewise linear; no parameters.

    Attributes:
      negative_slope: positive.

    Raises:
      ValueError: ``negative_slope`` is not positive.
    """

    negative_slope: float = 0.01
    _forward = staticmethod(leaky_relu_forward)
    _inverse = staticmethod(leaky_relu_inverse)

    def __post_init__(self) -> None:
        """Reject a map without an inverse."""
        if not self.negative_slope > 0:
            raise ValueError(
                f"LeakyReLUTransformer: expected negative_slope > 0, got {self.negative_slope}; a flat or falling map "
                f"has no inverse."
            )


@dataclasses.dataclass(frozen=True)
class SoftplusTransformer(_Fixed):
    """``x = log(1 + exp(z))``: positive data; no parameters."""

    _forward = staticmethod(softplus_forward)
    _inverse = staticmethod(softplus_inverse)


@dataclasses.dataclass(frozen=True)
class SigmoidTransformer(_Fixed):
    """``x = 1 / (1 + exp(-z))``: data in ``(0, 1)``; no parameters. `dgmjax.Logit` is for pixels."""

    _forward = staticmethod(functools.partial(logit_forward, levels=1.0, alpha=0.0))
    _inverse = staticmethod(functools.partial(logit_inverse, levels=1.0, alpha=0.0))


@dataclasses.dataclass(frozen=True)
class TanhTransformer(_Fixed):
    """``x = tanh(z)``: data in ``(-1, 1)``; no parameters."""

    _forward = staticmethod(tanh_forward)
    _inverse = staticmethod(tanh_inverse)
