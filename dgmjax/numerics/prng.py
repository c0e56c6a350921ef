"""Randomness of a batch: from one key, or from one key an example.

With a key of its own an example meets the same noise whatever else is in the batch, on whichever device it lies. Every
function takes a key of shape ``()``, or keys ``[*batch]`` whose axes are the first ones of what is drawn.
"""

import math
from collections.abc import Callable
from typing import overload

import jax
import jax.numpy as jnp

Draw = Callable[[jax.Array, tuple[int, ...]], jax.Array]


def example_keys(key: jax.Array, num: int, *, start: int | jax.Array = 0) -> jax.Array:
    """``num`` keys, ``fold_in(key, start + i)``: those of the examples from ``start`` on."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(start + jnp.arange(num))


@overload
def fold_in(key: jax.Array, data: int | jax.Array) -> jax.Array: ...
@overload
def fold_in(key: jax.Array | None, data: int | jax.Array) -> jax.Array | None: ...
def fold_in(key: jax.Array | None, data: int | jax.Array) -> jax.Array | None:
    """``jax.random.fold_in`` of one key or of each, in the shape of ``key``; no key (no dropout) stays none."""
    return None if key is None else _each(lambda one: jax.random.fold_in(one, data), key)


def split(key: jax.Array, num: int = 2) -> list[jax.Array]:
    """``num`` keys of the shape of ``key``, ``jax.random.split`` of one key or of each."""
    keys = _each(lambda one: jax.random.split(one, num), key)
    return [keys[..., index] for index in range(num)]


def draw(sampler: Draw, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """``sampler(key, shape)``; with keys ``[*batch]`` each draws its own part of ``shape = (*batch, ...)``.

    Args:
      sampler: ``(key, shape) -> [*shape]``, for one key.
      key: one key, or keys with the first axes of ``shape``.
      shape: of the result.

    Raises:
      ValueError: the axes of the keys are not the first of ``shape``.
    """
    if key.shape != shape[: key.ndim]:
        raise ValueError(
            f"random: expected one key, or keys of the batch axes of {shape}, got keys of shape {key.shape}."
        )
    return _each(lambda one: sampler(one, shape[key.ndim :]), key)


def _each(function: Callable[[jax.Array], jax.Array], key: jax.Array) -> jax.Array:
    if key.ndim == 0:
        return function(key)
    out = jax.vmap(function)(key.reshape(math.prod(key.shape)))
    return out.reshape(*key.shape, *out.shape[1:])
