"""Max-pooling as a layer of a density."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.squeeze import squeeze, unsqueeze
from dgmjax.distributions.stochastic.base import MapKind, StochasticMap
from dgmjax.layers.bijector import event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng

MaxPoolNoise = Literal["half_normal", "exponential"]

MAX_POOL_NOISES: tuple[MaxPoolNoise, ...] = ("half_normal", "exponential")


@recorded
class MaxPool(StochasticMap):
    """The maximum of every block of 2x2 pixels, ``z = max_k x_k``; generation draws the rest of the block.

    The place ``k`` of the maximum is uniform, and the three others lie below by independent ``x_j = z - s_c e_j``,
    ``e_j >= 0`` half-normal or exponential, with a learned scale ``s_c`` a channel: contribution
    ``sum_blocks (log 1/4 + sum_{j != k} log p(z - x_j))``; exact.

    Args:
      event_shape: ``(h, w, c)`` with even sides; latents are ``(h / 2, w / 2, c)``.
      noise: ``"half_normal"`` or ``"exponential"``.
      scale: start of ``s``; positive.

    Raises:
      ValueError: no image with even sides, an unknown noise, or a scale that is not positive.

    Source: Nielsen et al., 2020, arXiv:2007.02731, tables 2 and 3 (maximum), section 5 (max pooling).
    """

    kind: MapKind = "inference surjection"

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        noise: MaxPoolNoise = "half_normal",
        scale: float = 1.0,
    ):
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 3 or any(side % 2 for side in self.event_shape[:2]):
            raise ValueError(
                f"MaxPool: expected images (h, w, c) with even sides, got event_shape {self.event_shape}; pad them "
                f"with dgmjax.data.pad_to."
            )
        if noise not in MAX_POOL_NOISES:
            raise ValueError(
                f"MaxPool: noise: expected one of {list(MAX_POOL_NOISES)}, got {noise!r}."
            )
        if not 0.0 < scale < math.inf:
            raise ValueError(f"MaxPool: scale must be positive, got {scale}.")
        self.noise = noise
        channels = self.event_shape[-1:]
        self.log_scale = nnx.Param(jnp.full(channels, math.log(scale), jnp.float32))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(h / 2, w / 2, c)``."""
        height, width, channels = self.event_shape
        return (height // 2, width // 2, channels)

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        blocks = squeeze(x).reshape(*x.shape[:-3], *self.latent_shape, 4)
        z = blocks.max(-1)
        log_scale = self._log_scale(blocks)
        # The maximum itself lies 0 below: its term of the sum is the density at 0, whichever place it has.
        at_zero = self._log_prob(jnp.zeros_like(z), log_scale[..., 0])
        below = self._log_prob(z[..., None] - blocks, log_scale).sum(-1)
        log_prob = below - at_zero - math.log(4.0)
        return z, log_prob.sum(event_axes(self.latent_shape))

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        place_key, noise_key = prng.split(seed)
        place = prng.draw(
            lambda one, shape: jax.random.randint(one, shape, 0, 4), place_key, z.shape
        )
        noise = prng.draw(
            lambda one, shape: self._sample(one, shape, z.dtype), noise_key, (*z.shape, 4)
        )
        below = noise * jnp.exp(self._log_scale(noise))
        is_max = jax.nn.one_hot(place, 4, dtype=jnp.bool_)
        blocks = z[..., None] - jnp.where(is_max, jnp.zeros_like(below), below)
        return unsqueeze(blocks.reshape(*z.shape[:-1], 4 * z.shape[-1]))

    def _log_scale(self, blocks: jax.Array) -> jax.Array:
        return jnp.broadcast_to(self.log_scale[...].astype(blocks.dtype)[:, None], blocks.shape)

    def _log_prob(self, below: jax.Array, log_scale: jax.Array) -> jax.Array:
        e = below * jnp.exp(-log_scale)
        if self.noise == "exponential":
            return -e - log_scale
        return -0.5 * e**2 - log_scale + 0.5 * math.log(2.0 / math.pi)

    def _sample(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        if self.noise == "exponential":
            return jax.random.exponential(key, shape, dtype)
        return jnp.abs(jax.random.normal(key, shape, dtype))
