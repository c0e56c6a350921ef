"""Spectral norms of dense and convolution kernels, and kernels scaled to a bound on them."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgmjax.numerics.sharding import varying

_SQUARINGS = 20

# Step, u, v, sigma, and how much the last step changed it.
_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def spectral_init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A random unit vector of ``shape``, to start a power iteration from: ``[out]``, or ``[height, width, out]``."""
    return _unit(jax.random.normal(key, shape, jnp.float32))


def spectral_normalize(kernel: jax.Array, sigma: jax.Array, coefficient: float) -> jax.Array:
    """``kernel * min(1, coefficient / sigma)``: a norm above ``coefficient`` becomes ``coefficient``, others stay.

    Args:
      kernel: any shape.
      sigma: spectral norm of the operator that ``kernel`` stands for, a scalar; 0 is fine.
      coefficient: the bound, positive.

    Source: Behrmann et al., 2019, arXiv:1811.00995, section 2.1.
    """
    return kernel * (coefficient / jnp.maximum(sigma, coefficient))


def dense_spectral_norm(kernel: jax.Array) -> jax.Array:
    """The largest singular value of ``kernel``, ``[in, out] -> []``, by repeated squaring of its smaller Gram matrix.

    ``G <- (G / trace G)^2``, 20 times: a power iteration of a million steps from every direction at once, with neither
    state nor starting point. Exact to rounding but for nearly equal singular values, where it is low by at most
    2e-7 of the norm. The gradient is that of ``u^T W v`` with fixed singular vectors; where the largest value is
    repeated it is one of the subgradients.
    """
    fixed = jax.lax.stop_gradient(kernel)
    wide = kernel.shape[0] <= kernel.shape[1]
    rows, fixed_rows = (kernel, fixed) if wide else (kernel.T, fixed.T)
    gram = jnp.matmul(fixed_rows, fixed_rows.T, precision="highest")
    power = jax.lax.fori_loop(0, _SQUARINGS, _square, gram)
    left = _unit(power[jnp.argmax(jnp.diag(power))])
    right = _unit(jnp.matmul(left, fixed_rows, precision="highest"))
    return jnp.vdot(jnp.matmul(left, rows, precision="highest"), right, precision="highest")


def dense_power_iteration(
    kernel: jax.Array, u: jax.Array, *, num_steps: int, tolerance: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Power iteration on ``x -> x W``: ``v <- W u / |W u|``, ``u <- W^T v / |W^T v|``, ``sigma = u . (v W)``.

    ``sigma`` never exceeds the norm. The gradient flows through ``sigma`` with ``u`` and ``v`` held fixed.

    Args:
      kernel: ``[in, out]``.
      u: unit vector ``[out]``, the state; see `spectral_init`.
      num_steps: largest number of steps, at least 1.
      tolerance: stop once a step changes ``sigma`` by no more than this share of it. With 0 all steps are taken
        unless ``sigma`` stops changing.

    Returns:
      The new ``u``, without gradient, and ``sigma``, a scalar.

    Source: Miyato et al., 2018, arXiv:1802.05957, section 2.1 and algorithm 1.
    """
    return _power_iteration(_dense, kernel, kernel.shape[:1], u, num_steps, tolerance)


def conv_power_iteration(
    kernel: jax.Array, u: jax.Array, *, num_steps: int, tolerance: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """`dense_power_iteration` of `same_conv` on images of the size of ``u``, not of the reshaped kernel.

    The norm of the reshaped kernel can be smaller than that of the convolution by up to the square root of the number
    of taps, so dividing by it bounds nothing.

    Args:
      kernel: ``[rows, columns, in, out]``.
      u: unit vector ``[height, width, out]``, the state.
      num_steps: as for dense kernels.
      tolerance: as for dense kernels.

    Returns:
      The new ``u``, without gradient, and ``sigma``, a scalar.

    Source: Gouk et al., 2018, arXiv:1804.04368; Behrmann et al., 2019, arXiv:1811.00995, section 2.1.
    """
    shape = (*u.shape[:2], kernel.shape[2])
    return _power_iteration(same_conv, kernel, shape, u, num_steps, tolerance)


def same_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution with zero padding that keeps the size: ``[*batch, h, w, in] -> [*batch, h, w, out]``."""
    images = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
    out = jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


def _square(_: jax.Array, power: jax.Array) -> jax.Array:
    power = power / jnp.maximum(jnp.trace(power), float(jnp.finfo(power.dtype).tiny))
    return jnp.matmul(power, power, precision="highest")


def _dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


# Compiled here, since an eager while_loop with fresh closures would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(0, 2, 4, 5))
def _power_iteration(
    apply: Callable[[jax.Array, jax.Array], jax.Array],
    kernel: jax.Array,
    in_shape: tuple[int, ...],
    u: jax.Array,
    num_steps: int,
    tolerance: float,
) -> tuple[jax.Array, jax.Array]:
    if num_steps < 1:
        raise ValueError(f"power iteration: expected num_steps of at least 1, got {num_steps}.")
    start, fixed = varying(jax.lax.stop_gradient((u, kernel)))
    zeros = varying(jnp.zeros(in_shape, kernel.dtype), fixed)
    _, transposed = jax.vjp(lambda v: apply(v, fixed), zeros)

    def unfinished(state: _State) -> jax.Array:
        step, _, _, sigma, change = state
        return (step < num_steps) & ((step < 2) | (change > tolerance * sigma))

    def body(state: _State) -> _State:
        step, u, _, sigma, _ = state
        v = _unit(transposed(u)[0])
        image = apply(v, fixed)
        new = jnp.linalg.norm(image)
        return step + 1, _unit(image), v, new, jnp.abs(new - sigma)

    zero = jnp.zeros((), kernel.dtype)
    state = (jnp.zeros((), jnp.int32), start, zeros, zero, zero)
    _, u, v, _, _ = jax.lax.while_loop(unfinished, body, varying(state))
    return u, jnp.vdot(u, apply(v, kernel))


def _unit(x: jax.Array) -> jax.Array:
    # A zero kernel has no direction; a zero vector then gives the norm 0, without NaN.
    return x / jnp.maximum(jnp.sqrt(jnp.sum(x * x)), float(jnp.finfo(x.dtype).tiny))
