"""Log-densities of one point and samplers behind `dgmjax.data.toy`.

Every ``*_log_prob`` maps one point ``[2]`` to a scalar in the point's dtype; every ``*_sample``
maps ``(key, shape, dtype)`` to ``[*shape, 2]``. Batching is the caller's (`dgmjax.data.toy.Toy`).
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i0e, logsumexp

from dgmjax.checks import Shape

GAUSSIANS, GAUSSIANS_RADIUS, GAUSSIANS_NOISE = 8, 3.0, 0.3
RING_RADII, RING_NOISE = (3.0, 1.5), 0.2
PINWHEEL_ARMS, PINWHEEL_RADIUS, PINWHEEL_STDS = 5, 2.0, (0.6, 0.2)
# Nodes: doubling them moves log p by less than 1e-7 nats anywhere in [-6, 6]^2, in float64.
MOON_NOISE, MOON_NODES = 0.2, 128
SPIRAL_NOISE, SPIRAL_NODES = 0.12, 512


def _isotropic(squared_distance: jax.Array, noise: float) -> jax.Array:
    """``log N(x; m, noise**2 I)`` in two dimensions, from ``|x - m|**2``."""
    return -squared_distance / (2 * noise**2) - math.log(2 * math.pi * noise**2)


def _radius(x: jax.Array) -> jax.Array:
    """``|x|`` over the last axis, with gradient zero (not NaN) at the origin."""
    squared = jnp.sum(x**2, axis=-1)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)


def _polar(radius: jax.Array | float, angle: jax.Array) -> jax.Array:
    return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=-1)


def _rotate(x: jax.Array, angle: jax.Array) -> jax.Array:
    """Counter-clockwise rotation of ``x`` ``[*batch, 2]`` by ``angle`` ``[*batch]``."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack(
        [cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], axis=-1
    )


def _angles(index: jax.Array, count: int, dtype: jnp.dtype) -> jax.Array:
    return index.astype(dtype) * (2 * math.pi / count)


def eight_gaussians_log_prob(x: jax.Array) -> jax.Array:
    centres = _polar(GAUSSIANS_RADIUS, _angles(jnp.arange(GAUSSIANS), GAUSSIANS, x.dtype))
    squared = jnp.sum((x[None] - centres) ** 2, axis=-1)
    return logsumexp(_isotropic(squared, GAUSSIANS_NOISE)) - math.log(GAUSSIANS)


def eight_gaussians_sample(key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    index_key, noise_key = jax.random.split(key)
    index = jax.random.randint(index_key, shape, 0, GAUSSIANS)
    centres = _polar(GAUSSIANS_RADIUS, _angles(index, GAUSSIANS, dtype))
    return centres + GAUSSIANS_NOISE * jax.random.normal(noise_key, (*shape, 2), dtype)


def checkerboard_log_prob(x: jax.Array) -> jax.Array:
    inside = jnp.all((x >= -4) & (x < 4))
    coloured = jnp.sum(jnp.floor(x / 2)) % 2 == 0
    return jnp.where(inside & coloured, -math.log(32), -jnp.inf).astype(x.dtype)


def checkerboard_sample(key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    cell_key, offset_key = jax.random.split(key)
    cell = jax.random.randint(cell_key, shape, 0, 8)
    column, pair = cell % 4 - 2, cell // 4
    row = 2 * pair - 2 + column % 2  # the row of the same parity as the column
    corner = jnp.stack([column, row], axis=-1).astype(dtype)
    # `uniform` is a multiple of the spacing of floats in [1, 2), so this sum is exact for cells in
    # [-2, 2): a sample is never rounded up into the neighbouring square, where the density is 0.
    return 2 * (corner + jax.random.uniform(offset_key, (*shape, 2), dtype))


def circles_log_prob(x: jax.Array) -> jax.Array:
    # A ring of radius R with noise s averages N(x; R (cos a, sin a), s**2 I) over the angle a:
    # exp(-(r**2 + R**2) / (2 s**2)) I_0(r R / s**2) / (2 pi s**2), where I_0(z) = exp(z) i0e(z).
    radius = _radius(x)

    def ring(centre: float) -> jax.Array:
        bessel = jnp.log(i0e(radius * (centre / RING_NOISE**2)))
        return _isotropic((radius - centre) ** 2, RING_NOISE) + bessel

    return jnp.logaddexp(ring(RING_RADII[0]), ring(RING_RADII[1])) - math.log(2)


def circles_sample(key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    ring_key, angle_key, noise_key = jax.random.split(key, 3)
    outer, inner = (jnp.asarray(radius, dtype) for radius in RING_RADII)
    radius = jnp.where(jax.random.bernoulli(ring_key, shape=shape), outer, inner)
    points = _polar(radius, 2 * math.pi * jax.random.uniform(angle_key, shape, dtype))
    return points + RING_NOISE * jax.random.normal(noise_key, (*shape, 2), dtype)


def _twist(radius: jax.Array) -> jax.Array:
    # Past three times the arms' radius the angle stops growing: exp would overflow, and there is
    # no mass there (6.7 standard deviations out). The map is area-preserving for any angle(radius).
    return 0.25 * jnp.exp(jnp.minimum(radius / PINWHEEL_RADIUS, 3))


def pinwheel_log_prob(x: jax.Array) -> jax.Array:
    straight = _rotate(x, _twist(_radius(x)))
    angles = _angles(jnp.arange(PINWHEEL_ARMS), PINWHEEL_ARMS, x.dtype)
    arms = jax.vmap(_rotate, (None, 0))(straight, -angles)
    radial, tangential = PINWHEEL_STDS
    quadratic = ((arms[:, 0] - PINWHEEL_RADIUS) / radial) ** 2 + (arms[:, 1] / tangential) ** 2
    return logsumexp(-quadratic / 2) - math.log(PINWHEEL_ARMS * 2 * math.pi * radial * tangential)


def pinwheel_sample(key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    arm_key, noise_key = jax.random.split(key)
    arm = jax.random.randint(arm_key, shape, 0, PINWHEEL_ARMS)
    noise = jax.random.normal(noise_key, (*shape, 2), dtype)
    radial, tangential = PINWHEEL_STDS
    x = jnp.stack([PINWHEEL_RADIUS + radial * noise[..., 0], tangential * noise[..., 1]], axis=-1)
    return _rotate(x, _angles(arm, PINWHEEL_ARMS, dtype) - _twist(_radius(x)))


def _moon(t: jax.Array) -> jax.Array:
    """Upper half circle of radius 2 about (-1, -1/2), for ``t`` in [0, 1]."""
    angle = math.pi * t
    return jnp.stack([2 * jnp.cos(angle) - 1, 2 * jnp.sin(angle) - 0.5], axis=-1)


def _spiral(t: jax.Array) -> jax.Array:
    """Archimedean spiral of one and a half turns, radius 0.4 per radian, for ``t`` in [0, 1]."""
    angle = 3 * math.pi * t
    return _polar(0.4 * angle, math.pi - angle)


@functools.cache
def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _noisy_curve_log_prob(
    x: jax.Array,
    curve: Callable[[jax.Array], jax.Array],
    parameter_density: Callable[[np.ndarray], np.ndarray],
    noise: float,
    count: int,
) -> jax.Array:
    """``log int_0^1 p(t) [N(x; c(t), noise**2 I) + N(x; -c(t), noise**2 I)] / 2 dt``.

    Gauss-Legendre and not an equidistant rule: its error falls exponentially although the
    integrand does not vanish at the ends, and its nodes crowd there, where points beyond the
    curve's ends draw all their mass from.
    """
    nodes, weights = _gauss_legendre(count)
    points = curve(jnp.asarray(nodes, x.dtype))
    log_weights = jnp.asarray(np.log(weights * parameter_density(nodes) / 2), x.dtype)
    squared = jnp.sum((x[None] - jnp.concatenate([points, -points])) ** 2, axis=-1)
    return logsumexp(_isotropic(squared, noise) + jnp.tile(log_weights, 2))


def _noisy_curve_sample(
    curve: Callable[[jax.Array], jax.Array],
    quantile: Callable[[jax.Array], jax.Array],
    noise: float,
    key: jax.Array,
    shape: Shape,
    dtype: jnp.dtype,
) -> jax.Array:
    parameter_key, sign_key, noise_key = jax.random.split(key, 3)
    points = curve(quantile(jax.random.uniform(parameter_key, shape, dtype)))
    # The second moon, and the second arm, is the first one reflected through the origin.
    points = points * jax.random.rademacher(sign_key, (*shape, 1), dtype)
    return points + noise * jax.random.normal(noise_key, (*shape, 2), dtype)


def two_moons_log_prob(x: jax.Array) -> jax.Array:
    return _noisy_curve_log_prob(x, _moon, np.ones_like, MOON_NOISE, MOON_NODES)


def two_moons_sample(key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    return _noisy_curve_sample(_moon, lambda u: u, MOON_NOISE, key, shape, dtype)


def spirals_log_prob(x: jax.Array) -> jax.Array:
    return _noisy_curve_log_prob(x, _spiral, lambda t: 2 * t, SPIRAL_NOISE, SPIRAL_NODES)


def spirals_sample(key: jax.Array, shape: Shape, dtype: jnp.dtype) -> jax.Array:
    return _noisy_curve_sample(_spiral, jnp.sqrt, SPIRAL_NOISE, key, shape, dtype)
