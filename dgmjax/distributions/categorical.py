"""Categories: the joint distribution of the categorical columns of a row."""

import functools
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import log_softmax

from dgmjax.checks import as_shape, batch_shape
from dgmjax.distributions.base import Density
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.data_init import data_init_once, not_initialised
from dgmjax.nets.mlp import MLP
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


@recorded
class CategoricalVector(Density):
    """``P(c) = P(c_1) P(c_2 | c_1) ... P(c_k | c_<k)``: exact probabilities of vectors of categories.

    The logits of an element are parameters of its own plus a network of the elements before, one-hot.

    Args:
      sizes: number of categories of each element, at least 2.
      width: hidden units of the networks.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: no elements, or one with fewer than 2 categories.
    """

    def __init__(self, sizes: Sequence[int], *, width: int = 32, rngs: nnx.Rngs):
        sizes = tuple(int(size) for size in sizes)
        if not sizes or min(sizes) < 2:
            raise ValueError(
                f"CategoricalVector: expected at least one element, each of 2 categories or more, got {sizes}."
            )
        self.sizes = sizes
        self.event_shape = (len(sizes),)
        self.data_initialised = not_initialised()
        self.logits = nnx.List([nnx.Param(jnp.zeros(size, jnp.float32)) for size in sizes])
        self.nets = nnx.List(
            [
                MLP(sum(sizes[:index]), (size,), width=width, rngs=rngs)
                for index, size in enumerate(sizes)
                if index
            ]
        )

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """Categories ``[*batch, k]``, integers, to ``[*batch]``, nats; ``-inf`` where one does not exist."""
        batch_shape(value, self.event_shape, where="CategoricalVector.log_prob")
        before = self.one_hot(value)
        total, start = [], 0
        for index, size in enumerate(self.sizes):
            log_masses = log_softmax(self._logits(index, before[..., :start]), axis=-1)
            own = before[..., start : start + size]
            known = own.sum(-1) > 0
            log_mass = (own * log_masses).sum(-1)
            total.append(jnp.where(known, log_mass, jnp.full_like(log_mass, -jnp.inf)))
            start += size
        return functools.reduce(jnp.add, total)

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw categories ``[*sample_shape, k]``, int32."""
        shape = as_shape(sample_shape)
        drawn: list[jax.Array] = []
        before = jnp.zeros((*shape, 0), self.logits[0].dtype)
        for index, size in enumerate(self.sizes):
            logits = jnp.broadcast_to(self._logits(index, before), (*shape, size))
            gumbel = prng.draw(
                lambda one, shape: jax.random.gumbel(one, shape, jnp.float32),
                prng.fold_in(seed, index),
                (*shape, size),
            )
            drawn.append((logits + gumbel.astype(logits.dtype)).argmax(-1).astype(jnp.int32))
            before = jnp.concatenate(
                [before, jax.nn.one_hot(drawn[-1], size, dtype=before.dtype)], -1
            )
        return jnp.stack(drawn, axis=-1)

    @data_init_once
    def with_data_init(self, value: jax.Array) -> Self:
        """A new one with the logarithms of frequencies in a batch as its own logits; each category counts once more."""
        new = nnx.clone(self)
        rows = self.one_hot(value.reshape(-1, len(self.sizes)))
        counts = jnp.split(rows.sum(0) + 1.0, np.cumsum(self.sizes)[:-1].tolist())
        new.logits = nnx.List(
            [
                nnx.Param(jnp.log(count / count.sum()).astype(old.dtype))
                for count, old in zip(counts, self.logits, strict=True)
            ]
        )
        return new

    def one_hot(self, value: jax.Array) -> jax.Array:
        """Categories ``[*batch, k]`` to ``[*batch, sum(sizes)]``; zeros for one that does not exist."""
        dtype = self.logits[0].dtype
        parts = [
            jax.nn.one_hot(value[..., index], size, dtype=dtype)
            for index, size in enumerate(self.sizes)
        ]
        return jnp.concatenate(parts, axis=-1)

    def _logits(self, index: int, before: jax.Array) -> jax.Array:
        own = self.logits[index][...]
        if not index:
            return jnp.broadcast_to(own, (*before.shape[:-1], own.size))
        change = self.nets[index - 1](before)
        return jnp.broadcast_to(own, change.shape) + change
