r"""Six two-dimensional toy distributions with known densities.

All lie within about [-4, 4]^2. Written ``R`` radius, ``s`` standard deviation of isotropic Gaussian
noise, ``U`` uniform:

================== ================================================================================
``eight_gaussians`` Mixture of 8 Gaussians, means on a circle of R = 3, s = 0.3.
``checkerboard``    U on the 8 squares of side 2 in [-4, 4)^2 with floor(x/2) + floor(y/2) even;
                    the density is 1/32 there and 0 elsewhere.
``circles``         Rings of R = 3 and R = 1.5, equally likely, s = 0.2:
                    ``p(x) = mean_R exp(-(r^2 + R^2) / 2s^2) I_0(r R / s^2) / 2 pi s^2``, r = |x|.
``pinwheel``        N((2, 0), diag(0.6, 0.2)^2) turned by a random multiple of 2 pi / 5, then each
                    point turned clockwise by 0.25 exp(min(r / 2, 3)) radians, r = |x|. That twist
                    preserves area, so the density is the untwisted mixture's. (The usual recipe,
                    Johnson et al., 2016, arXiv:1603.06277, twists by the first coordinate in
                    place of r.)
``two_moons``       c(t) = (2 cos(pi t) - 1, 2 sin(pi t) - 1/2), t ~ U(0, 1), or its reflection
                    -c(t), s = 0.2.
``spirals``         c(t) = 1.2 pi t (-cos(3 pi t), sin(3 pi t)), t^2 ~ U(0, 1), or its reflection
                    -c(t), s = 0.12.
================== ================================================================================

The last two integrate ``N(x; +-c(t), s^2 I)`` over ``t`` by Gauss-Legendre quadrature with 128 and
512 fixed nodes per arm; see `Toy.log_prob_error`.

Example:
    >>> import jax
    >>> from dgmjax.data import toy
    >>> moons = toy("two_moons")
    >>> x = moons.sample(seed=jax.random.key(0), sample_shape=(1000,))
    >>> entropy = -moons.log_prob(x).mean()  # nats: no model's expected loss can be lower
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from dgmjax.checks import as_shape
from dgmjax.data import _toy_densities as densities
from dgmjax.numerics.rows import map_rows

_QUADRATURE_ERROR = 1e-7


@dataclasses.dataclass(frozen=True)
class Toy:
    """A distribution over the plane that duck-types `distrax.Distribution`.

    It holds two pure functions and no arrays, so it is hashable, and its methods work inside
    ``jit``, ``vmap`` and ``grad``.

    Attributes:
        name: The key in `TOYS`.
        point_log_prob: Log-density of one point, ``[2] -> []``.
        sampler: ``(key, shape, dtype) -> [*shape, 2]``.
        density: How the density is known, ``"closed form"`` or ``"quadrature"``.
        log_prob_error: Bound on ``|error|`` of `log_prob` in nats, in float64: 0 in closed form
            (up to rounding); for quadrature it holds for every point of [-6, 6]^2.
    """

    name: str
    point_log_prob: Callable[[jax.Array], jax.Array]
    sampler: Callable[[jax.Array, tuple[int, ...], jnp.dtype], jax.Array]
    density: Literal["closed form", "quadrature"] = "closed form"
    log_prob_error: float = 0.0

    event_shape: ClassVar[tuple[int, ...]] = (2,)
    batch_shape: ClassVar[tuple[int, ...]] = ()

    def log_prob(self, value: ArrayLike) -> jax.Array:
        """Log-density in nats of ``value`` ``[*batch, 2]``: ``[*batch]``, in the value's dtype.

        Minus infinity outside the support (only ``checkerboard`` has an outside).

        Raises:
            ValueError: If the last axis of ``value`` does not have length 2.
        """
        value = jnp.asarray(value)
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"{self.name}.log_prob: expected a value of shape [*batch, 2], got {value.shape}; "
                "the coordinates of a point go on the last axis."
            )
        if not jnp.issubdtype(value.dtype, jnp.floating):
            value = value.astype(float)
        return _log_prob(self.point_log_prob, value)

    def sample(
        self, *, seed: jax.Array, sample_shape: int | Sequence[int] = (), dtype: DTypeLike = float
    ) -> jax.Array:
        """Independent draws ``[*sample_shape, 2]``; ``seed`` is a key of `jax.random.key`."""
        shape = as_shape(sample_shape)
        return _sample(self.sampler, seed, shape, jax.dtypes.canonicalize_dtype(dtype))

    def sample_and_log_prob(
        self, *, seed: jax.Array, sample_shape: int | Sequence[int] = (), dtype: DTypeLike = float
    ) -> tuple[jax.Array, jax.Array]:
        """Draws of `sample` ``[*sample_shape, 2]`` and their `log_prob` ``[*sample_shape]``."""
        value = self.sample(seed=seed, sample_shape=sample_shape, dtype=dtype)
        return value, self.log_prob(value)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _sample(
    sampler: Callable[[jax.Array, tuple[int, ...], jnp.dtype], jax.Array],
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: jnp.dtype,
) -> jax.Array:
    return sampler(key, shape, dtype)


@functools.partial(jax.jit, static_argnums=0)
def _log_prob(point_log_prob: Callable[[jax.Array], jax.Array], value: jax.Array) -> jax.Array:
    batch = value.shape[:-1]
    flat = value.reshape(math.prod(batch), 2)
    # The quadrature's table, [points, 2 arms, nodes, 2], has 32 MiB at most in float64; recomputing in
    # the backward pass keeps that for gradients, too.
    log_prob = jax.vmap(jax.checkpoint(point_log_prob))
    return map_rows(log_prob, flat, batch_size=2_048).reshape(batch)


TOYS: dict[str, Toy] = {
    entry.name: entry
    for entry in (
        Toy(
            "two_moons",
            densities.two_moons_log_prob,
            densities.two_moons_sample,
            density="quadrature",
            log_prob_error=_QUADRATURE_ERROR,
        ),
        Toy("circles", densities.circles_log_prob, densities.circles_sample),
        Toy(
            "eight_gaussians", densities.eight_gaussians_log_prob, densities.eight_gaussians_sample
        ),
        Toy("pinwheel", densities.pinwheel_log_prob, densities.pinwheel_sample),
        Toy("checkerboard", densities.checkerboard_log_prob, densities.checkerboard_sample),
        Toy(
            "spirals",
            densities.spirals_log_prob,
            densities.spirals_sample,
            density="quadrature",
            log_prob_error=_QUADRATURE_ERROR,
        ),
    )
}


def toy(name: str) -> Toy:
    """The toy distribution called ``name``, one of the keys of `TOYS`.

    Raises:
        ValueError: If there is none of that name; the message suggests the nearest names.
    """
    if name not in TOYS:
        nearest = difflib.get_close_matches(name, TOYS, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
        raise ValueError(
            f"toy: there is no distribution {name!r}. {hint}Choose from {', '.join(TOYS)}."
        )
    return TOYS[name]
