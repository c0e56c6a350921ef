"""Noise of one shape in every bin, with a learned location and scale."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.densities.logit_normal import logit_normal_log_prob, logit_normal_sample
from dgmjax.densities.truncated import truncated_normal_log_prob, truncated_normal_sample
from dgmjax.distributions.dequantization.base import Dequantization
from dgmjax.layers.bijector import event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng


class _LocationScale(Dequantization):
    """Noise of one shape for all pixels, with a learned location and scale for each entry of the last axis."""

    def __init__(
        self, event_shape: Sequence[int], *, loc: float, log_scale: float, low: float = 0.0
    ):
        super().__init__(event_shape, low=low)
        shape = self.event_shape[-1:]
        self.loc = nnx.Param(jnp.full(shape, loc, jnp.float32))
        self.log_scale = nnx.Param(jnp.full(shape, log_scale, jnp.float32))

    def noise(
        self, y: jax.Array, *, seed: jax.Array, dtype: Any, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """A reparametrized draw and its log-density."""
        del key
        loc, log_scale = self.loc[...].astype(dtype), self.log_scale[...].astype(dtype)
        ends = len(self.event_shape[-1:])

        def sample(one: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return self._sample(one, loc, log_scale, shape[: len(shape) - ends])

        u = prng.draw(sample, seed, y.shape)
        log_q = self._log_prob(
            u, jnp.broadcast_to(loc, u.shape), jnp.broadcast_to(log_scale, u.shape)
        )
        return u, log_q.sum(event_axes(self.event_shape))

    def _sample(
        self, key: jax.Array, loc: jax.Array, log_scale: jax.Array, shape: tuple[int, ...]
    ) -> jax.Array:
        raise NotImplementedError

    def _log_prob(self, u: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
        raise NotImplementedError


@recorded
class TruncatedNormalDequantization(_LocationScale):
    """``u ~ N(loc, s^2)`` conditioned on ``[0, 1]``: noise of Gaussian shape that stays in the bin.

    ``loc`` and ``log s`` are learned, one pair for each entry of the last axis of events (the channels of images).

    Args:
      event_shape: as in `Dequantization`.
      loc: start of the location, in bins.
      log_scale: start of the natural log of ``s``, in bins; ``s`` large is `UniformDequantization`.
      low: as in `Dequantization`.
    """

    name = "truncated-normal dequantization"

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        loc: float = 0.5,
        log_scale: float = -1.0,
        low: float = 0.0,
    ):
        super().__init__(event_shape, loc=loc, log_scale=log_scale, low=low)

    def _sample(
        self, key: jax.Array, loc: jax.Array, log_scale: jax.Array, shape: tuple[int, ...]
    ) -> jax.Array:
        return truncated_normal_sample(key, loc, log_scale, 0.0, 1.0, sample_shape=shape)

    def _log_prob(self, u: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
        return truncated_normal_log_prob(u, loc, log_scale, 0.0, 1.0)


@recorded
class LogitNormalDequantization(_LocationScale):
    """``u = sigmoid(loc + s e)``, ``e ~ N(0, 1)``, with learned ``loc`` and ``log s`` as in the truncated normal.

    Its density vanishes at the ends of the bin faster than any power, so importance weights may have no variance, and
    the bound closes more slowly than ``1 / K``.

    Args:
      event_shape: as in `Dequantization`.
      loc: start of the location of ``logit u``.
      log_scale: start of the natural log of ``s``; at the default ``u`` is near uniform.
      low: as in `Dequantization`.
    """

    name = "logit-normal dequantization"

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        loc: float = 0.0,
        log_scale: float = 0.5,
        low: float = 0.0,
    ):
        super().__init__(event_shape, loc=loc, log_scale=log_scale, low=low)

    def _sample(
        self, key: jax.Array, loc: jax.Array, log_scale: jax.Array, shape: tuple[int, ...]
    ) -> jax.Array:
        return logit_normal_sample(key, loc, log_scale, sample_shape=shape)

    def _log_prob(self, u: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
        return logit_normal_log_prob(u, loc, log_scale)
