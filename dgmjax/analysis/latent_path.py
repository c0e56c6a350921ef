"""Paths between two latents: straight, along a great circle, or straight in the unit cube of their quantiles."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike

from dgmjax.analysis.interpolation import lerp, slerp
from dgmjax.numerics.compiled import compiled

BaseKind = Literal["linear", "spherical", "cube"]


@compiled
def cube_lerp(a: jax.Array, b: jax.Array, t: ArrayLike) -> jax.Array:
    """``Phi^-1((1 - t) Phi(a) + t Phi(b))`` of each element: ``[*t, *a.shape]``; exactly ``a`` and ``b`` at the ends.

    A straight line with equal steps in the unit cube, where ``Phi``, the distribution function of the standard normal,
    takes latents ``N(0, I)``: equal steps are equal shares of the prior in every coordinate. Ends ``N(0, I)`` are
    uniform in the cube, but what lies between is not, as the mean of two uniform numbers is not uniform: mid-points of
    independent latents have a variance of 0.363, those of `dgmjax.analysis.lerp` 1/2.

    Both tails are mixed, so latents keep their digits beyond 5 standard deviations, where ``Phi`` rounds to 1.

    Args:
      a: floating point, any shape.
      b: same shape.
      t: positions, any shape, in ``[0, 1]``; NaN for those outside that leave the cube.

    Raises:
      TypeError: integers.
      ValueError: ``a`` and ``b`` differ in shape.
    """
    lower, upper = lerp(ndtr(a), ndtr(b), t), lerp(ndtr(-a), ndtr(-b), t)
    between = jnp.where(lower < upper, ndtri(lower), -ndtri(upper))
    straight = lerp(a, b, t)
    ends = jnp.asarray(t)
    ends = ((ends == 0) | (ends == 1)).reshape(*ends.shape, *(1,) * jnp.ndim(a))
    return jnp.where(ends, straight, between)


@compiled
def latent_path(
    z1: jax.Array, z2: jax.Array, num: int, *, kind: BaseKind = "spherical"
) -> jax.Array:
    """``num`` latents at even positions from ``z1`` to ``z2``: ``[num, *batch, d]``.

    Of independent ends ``N(0, I)`` the mid-points of ``"linear"`` have variance 1/2 and those of ``"cube"`` less:
    the generator sees latents nearer to the origin than it was trained on. Those of ``"spherical"`` keep the norm, and
    in many dimensions are ``N(0, I)`` but for little.

    Args:
      z1: ``[*batch, d]``.
      z2: same shape.
      num: positions, the ends included, at least 2.
      kind: ``"linear"``: `lerp`, ``"spherical"``: `slerp`, or ``"cube"``: a straight line in the unit cube to
        which the distribution function of the normal takes them, as in the lectures.

    Raises:
      TypeError: integers.
      ValueError: fewer than 2 positions, another kind, or different shapes.
    """
    if num < 2:
        raise ValueError(f"latent_path: num counts both ends: expected at least 2, got {num}.")
    paths = {"linear": lerp, "spherical": slerp, "cube": cube_lerp}
    if kind not in paths:
        raise ValueError(
            f"latent_path: kind: expected one of {list(get_args(BaseKind))}, got {kind!r}."
        )
    return paths[kind](z1, z2, jnp.linspace(0, 1, num, dtype=z1.dtype))
