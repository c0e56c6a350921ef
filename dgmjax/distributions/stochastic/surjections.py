"""Surjections of vectors and images along one axis, and of signs: slice, augment, absolute value."""

import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import batch_shape
from dgmjax.distributions.conditional import (
    fitting_density,
    one_each,
    seen_by,
)
from dgmjax.distributions.stochastic.base import MapKind, StochasticMap
from dgmjax.layers.bijector import event_axes
from dgmjax.layers.conditioner import call_network
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng


@recorded
class Slice(StochasticMap):
    """``x = (z, r)`` along the last axis: inference keeps ``z``, generation draws ``r ~ p(r | z)``.

    Contribution ``log p(r | z)``; exact. Half the channels of an image after a `dgmjax.Squeeze` make a level of a
    multi-scale architecture. To lose other elements than the last, put a `dgmjax.Permute` before it.

    Args:
      event_shape: ``(d,)`` or ``(h, w, c)``.
      keep: entries of the last axis that go on, from 1 to ``d - 1``.
      decoder: density of ``r``, events ``(*event_shape[:-1], d - keep)``, with context ``z`` or none, e.g. a
        `dgmjax.Flow` with ``context_shape`` or a `ConditionalGaussian`.

    Raises:
      ValueError: ``keep`` out of range, or a decoder of other shapes.

    Source: Nielsen et al., 2020, arXiv:2007.02731, tables 2 and 3 (tensor slicing).
    """

    kind: MapKind = "inference surjection"

    def __init__(self, event_shape: Sequence[int], keep: int, decoder: Any):
        self.event_shape = tuple(event_shape)
        if not 0 < keep < self.event_shape[-1]:
            raise ValueError(
                f"Slice: expected keep in 1 .. {self.event_shape[-1] - 1}, got {keep}."
            )
        self.keep = keep
        lost = (*self.event_shape[:-1], self.event_shape[-1] - keep)
        self.decoder = fitting_density(decoder, lost, self.latent_shape, "Slice: the decoder")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(*event_shape[:-1], keep)``."""
        return (*self.event_shape[:-1], self.keep)

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """A new map with the decoder set from the batch ``x``."""
        del context, seed
        new = nnx.clone(self)
        new.decoder = self.decoder.with_data_init(
            x[..., self.keep :], seen_by(self.decoder, x[..., : self.keep])
        )
        return new

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        z, rest = x[..., : self.keep], x[..., self.keep :]
        return z, self.decoder.log_prob(rest, seen_by(self.decoder, z), key=key)

    def _encode_and_update(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Self]:
        z, rest = x[..., : self.keep], x[..., self.keep :]
        log_prob, decoder = self.decoder.log_prob_and_update(
            rest, seen_by(self.decoder, z), key=key
        )
        new = nnx.clone(self)
        new.decoder = decoder
        return z, log_prob, new

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        batch = z.shape[: z.ndim - len(self.event_shape)]
        rest = self.decoder.sample(seed=seed, **one_each(self.decoder, z, batch))
        return jnp.concatenate([z, rest], axis=-1)


@recorded
class Augment(StochasticMap):
    """``z = (x, u)`` along the last axis: inference draws ``u ~ q(u | x)``, generation drops ``u``.

    Contribution ``-log q(u | x)``: a lower bound, ``log p(x) >= E_q [log p(x, u) - log q(u | x)]``. It lifts the limit
    that a flow's latents have as many dimensions as its data.

    Args:
      event_shape: ``(d,)`` or ``(h, w, c)``.
      extra: entries that ``u`` adds to the last axis, at least 1.
      encoder: density of ``u``, events ``(*event_shape[:-1], extra)``, with context ``x`` or none, with
        ``sample_and_log_prob``.

    Raises:
      ValueError: ``extra`` out of range, or an encoder of other shapes.

    Source: Nielsen et al., 2020, arXiv:2007.02731, tables 2 and 3 (tensor slicing); Huang et al., 2020,
      *Augmented normalizing flows*, arXiv:2002.07101.
    """

    kind: MapKind = "generative surjection"

    def __init__(self, event_shape: Sequence[int], extra: int, encoder: Any):
        self.event_shape = tuple(event_shape)
        if extra < 1:
            raise ValueError(f"Augment: extra must be at least 1, got {extra}.")
        self.extra = extra
        added = (*self.event_shape[:-1], extra)
        self.encoder = fitting_density(encoder, added, self.event_shape, "Augment: the encoder")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(*event_shape[:-1], d + extra)``."""
        return (*self.event_shape[:-1], self.event_shape[-1] + self.extra)

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        batch = x.shape[: x.ndim - len(self.event_shape)]
        u, log_q = self.encoder.sample_and_log_prob(
            seed=seed, key=key, **one_each(self.encoder, x, batch)
        )
        return jnp.concatenate([x, u], axis=-1), -log_q

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        return z[..., : self.event_shape[-1]]


@recorded
class AbsoluteValue(StochasticMap):
    """``z = |x|``: inference loses the signs, generation draws them, ``P(x_i > 0 | z) = sigmoid(logits(z)_i)``.

    Contribution ``sum_i log P(sign x_i | z)``, since the derivative is 1 in absolute value; exact. Without a network
    the signs are fair coins: a density that is symmetric in every element. The next layer must have positive data,
    e.g. `dgmjax.Elementwise` of a `dgmjax.SoftplusTransformer`.

    Args:
      event_shape: shape of one event.
      logits: ``logits(z) -> [*batch, *event]``, or None for ``P = 1/2``.

    Source: Nielsen et al., 2020, arXiv:2007.02731, tables 2 and 3 (absolute value).
    """

    kind: MapKind = "inference surjection"

    def __init__(self, event_shape: Sequence[int], logits: nnx.Module | None = None):
        self.event_shape = tuple(event_shape)
        self.logits = nnx.data(logits)

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        z = jnp.abs(x)
        if self.logits is None:
            batch = batch_shape(x, self.event_shape, where="AbsoluteValue")
            return z, jnp.full(batch, -math.prod(self.event_shape) * math.log(2.0), x.dtype)
        logits = call_network(self.logits, z, key=key)
        log_prob = jax.nn.log_sigmoid(jnp.where(x >= 0, logits, -logits))
        return z, log_prob.sum(event_axes(self.event_shape))

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        logits = jnp.zeros_like(z) if self.logits is None else self.logits(z)
        noise = prng.draw(
            lambda one, shape: jax.random.logistic(one, shape, z.dtype), seed, z.shape
        )
        return jnp.where(noise < logits, z, -z)
