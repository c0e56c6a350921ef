"""Maps from an unconstrained network output to a log-scale, by name or as a function.

A coupling or autoregressive layer multiplies by ``exp(log_scale)``. An unbounded log-scale overflows as soon as
training meets an outlier, so layers take one of these bounded maps by name, or a map of the user's.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

ScaleFnName = Literal["tanh", "sigmoid", "double_sigmoid", "softplus", "exp"]
ScaleFn = ScaleFnName | Callable[[jax.Array], jax.Array]

_TANH_BOUND = 2.0


def tanh_log_scale(raw: jax.Array) -> jax.Array:
    """``log s = 2 tanh(raw / 2)``: identity at 0, slope 1 there, ``s`` in ``[e^-2, e^2]``.

    The bounded log-scale of RealNVP (Dinh et al., 2017, arXiv:1605.08803, section 4.1) with a fixed amplitude.
    """
    return _TANH_BOUND * jnp.tanh(raw / _TANH_BOUND)


def sigmoid_log_scale(raw: jax.Array) -> jax.Array:
    """``s = sigmoid(raw + 2)``, in ``(0, 1)``; 0.88 at ``raw = 0`` (the scale in the code of Glow)."""
    return jax.nn.log_sigmoid(raw + 2.0)


def double_sigmoid_log_scale(raw: jax.Array) -> jax.Array:
    """``s = 2 sigmoid(raw)``, in ``(0, 2)``; identity at 0 (the scale of Jet, arXiv:2412.15129)."""
    return jnp.asarray(jnp.log(2.0), raw.dtype) + jax.nn.log_sigmoid(raw)


def softplus_log_scale(raw: jax.Array) -> jax.Array:
    """``s = softplus(raw + log(e - 1))``: identity at 0, linear above, exponential below; ``s > 0`` without a bound.

    Finite for every finite ``raw``: far below, ``log softplus(r) = r - exp(r) / 2 + ...`` replaces the underflow.
    """
    shifted = raw + math.log(math.e - 1.0)
    low = shifted < -16.0
    safe = jnp.where(low, jnp.zeros_like(shifted), shifted)
    far = jnp.where(low, shifted, jnp.full_like(shifted, -16.0))
    return jnp.where(low, far - 0.5 * jnp.exp(far), jnp.log(jax.nn.softplus(safe)))


def identity_log_scale(raw: jax.Array) -> jax.Array:
    """``log s = raw``, unbounded: the ``exp(s)`` printed in most papers. May overflow in training."""
    return raw


SCALE_FNS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": tanh_log_scale,
    "sigmoid": sigmoid_log_scale,
    "double_sigmoid": double_sigmoid_log_scale,
    "softplus": softplus_log_scale,
    "exp": identity_log_scale,
}


def scale_fn(scale: ScaleFn) -> Callable[[jax.Array], jax.Array]:
    """The map of a name in ``SCALE_FNS``, or the elementwise function from raw to log-scales that was given.

    Raises:
      ValueError: unknown name; the message lists the known ones.
      TypeError: neither a name nor a function.
    """
    if isinstance(scale, str):
        if scale not in SCALE_FNS:
            raise ValueError(
                f"scale_fn: unknown name {scale!r}; expected one of {sorted(SCALE_FNS)}, or a function from raw "
                f"outputs of a network to log-scales."
            )
        return SCALE_FNS[scale]
    if not callable(scale):
        raise TypeError(f"scale_fn: expected a name or a function, got {scale!r}.")
    return scale
