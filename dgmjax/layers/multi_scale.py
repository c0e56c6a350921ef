"""Multi-scale architecture: levels that each leave a part of their output as latents."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import check_float_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import common_context_shape
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


@recorded
class MultiScale(Bijector):
    """``h_0 = x``; ``(h_i, e_i)`` are the halves of the channels of ``level_i^{-1}(h_{i-1})``; the last keeps all.

    Latents are one vector, ``z = (z_1, ..., z_L)`` flattened level after level, from the finest to the coarsest, with
    ``z_i = prior_i^{-1}(e_i; h_i)``: a learned Gaussian prior ``p(e_i | h_i) = N(mean(h_i), std(h_i)^2)`` is an affine
    layer whose context is what goes on to the next level, so that all latents have a standard normal base. Half of the
    dimensions leave after each level, and the total is that of the data. `split_latents` and `join_latents` go between
    the vector and a list of images.

    Args:
      levels: bijectors with latents ``(h_i, w_i, c_i)``, ``c_i`` even but for the last; the next one has events
        ``(h_i, w_i, c_i / 2)``.
      priors: for each level but the last a bijector of events ``(h_i, w_i, c_i / 2)`` with context of that shape, or
        None for latents that are standard normal as they leave.

    Raises:
      ValueError: shapes that do not follow from each other.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.6 and equations 14-16;
    Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3 (the code has the learned priors).
    """

    reach = "any"

    def __init__(self, levels: Sequence[Bijector], priors: Sequence[Bijector | None] | None = None):
        if not levels:
            raise ValueError("MultiScale: expected at least one level, got none.")
        priors = [None] * (len(levels) - 1) if priors is None else list(priors)
        if len(priors) != len(levels) - 1:
            raise ValueError(
                f"MultiScale: {len(levels)} levels have {len(levels) - 1} priors between them, got {len(priors)}."
            )
        for index, (level, following) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
            half = _half(level.latent_shape, index)
            if following.event_shape != half:
                raise ValueError(
                    f"MultiScale: level {index} passes events of shape {half} on, but level {index + 1} "
                    f"({type(following).__name__}) has events of shape {following.event_shape}."
                )
            prior = priors[index]
            if prior is not None and (prior.event_shape, prior.context_shape) != (half, half):
                raise ValueError(
                    f"MultiScale: prior {index} must have events and contexts of shape {half}, got "
                    f"{prior.event_shape} and {prior.context_shape}."
                )
        self.context_shape = common_context_shape(levels, where="MultiScale")
        self.levels = nnx.List(levels)
        self.priors = nnx.List(priors)
        self.event_shape = tuple(levels[0].event_shape)

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the latents of each level, from the finest to the coarsest."""
        halves = [_half(level.latent_shape, i) for i, level in enumerate(self.levels[:-1])]
        return [*halves, tuple(self.levels[-1].latent_shape)]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """``(d,)``: as many as the data have."""
        return (sum(math.prod(shape) for shape in self.latent_shapes),)

    @property
    def depends_on_data(self) -> bool:
        """Whether any level does."""
        return any(level.depends_on_data for level in self.levels)

    @compiled
    def split_latents(self, z: jax.Array) -> list[jax.Array]:
        """``[*batch, d]`` as one array a level, ``[*batch, h_i, w_i, c_i]``, from the finest to the coarsest."""
        sizes = [math.prod(shape) for shape in self.latent_shapes]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        parts = jnp.split(z, ends, axis=-1)
        return [
            part.reshape(*z.shape[:-1], *shape)
            for part, shape in zip(parts, self.latent_shapes, strict=True)
        ]

    @compiled
    def join_latents(self, parts: Sequence[jax.Array]) -> jax.Array:
        """The inverse of `split_latents`."""
        flat = [
            part.reshape(*part.shape[: part.ndim - len(shape)], math.prod(shape))
            for part, shape in zip(parts, self.latent_shapes, strict=True)
        ]
        return jnp.concatenate(flat, axis=-1)

    @compiled
    def per_level(self, values: Sequence[ArrayLike]) -> jax.Array:
        """One number a level, from the finest to the coarsest, as the vector ``[d]`` of its latents.

        Raises:
          ValueError: another number of values than of levels.
        """
        if len(values) != len(self.levels):
            raise ValueError(
                f"MultiScale.per_level: expected {len(self.levels)} values, one a level, got {len(values)}."
            )
        return self.join_latents(
            [jnp.full(s, v) for s, v in zip(self.latent_shapes, values, strict=True)]
        )

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data, from the coarsest level to the finest."""
        x, log_dets = self._forward(_forward, z, context, key)
        return x, functools.reduce(jnp.add, log_dets)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, from the finest level to the coarsest."""
        z, log_det, _, _ = self._inverse(_as_it_is, x, context, key)
        return z, log_det

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the layer of the new levels and priors."""
        z, log_det, levels, priors = self._inverse(_updated, x, context, key)
        new = nnx.clone(self)
        new.levels, new.priors = nnx.List(levels), nnx.List(priors)
        return z, log_det, new

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`, from the coarsest level to the finest."""

        def undo(
            layer: Bijector, z: jax.Array, *args: Any, **options: Any
        ) -> tuple[jax.Array, ...]:
            return (layer.forward_in_training(z, *args, **options),)

        return self._forward(undo, z, context, key)[0]

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Initialise level after level, each from what the one before passes on."""
        check_float_event(x, self.event_shape, where="MultiScale.with_data_init")
        levels = list(self.levels)
        for index, level in enumerate(levels):
            levels[index] = level.with_data_init(x, context)
            if index < len(levels) - 1:
                x, _ = jnp.split(levels[index].inverse(x, context), 2, axis=-1)
        new = nnx.clone(self)
        new.levels = nnx.List(levels)
        return new

    def _forward(
        self, apply: Callable[..., Any], z: jax.Array, context: Any, key: jax.Array | None
    ) -> tuple[jax.Array, list[jax.Array]]:
        """``apply(layer, z, context, key=...)`` of every level and prior: the data, and what it returns besides."""
        *parts, h = self.split_latents(z)
        h, *found = apply(self.levels[-1], h, context, key=prng.fold_in(key, len(self.levels) - 1))
        for index in reversed(range(len(parts))):
            part, prior = parts[index], self.priors[index]
            if prior is not None:
                part, *more = apply(prior, part, h)
                found += more
            with jax.named_scope(f"levels[{index}]"):
                joined = jnp.concatenate([h, part], axis=-1)
                h, *more = apply(self.levels[index], joined, context, key=prng.fold_in(key, index))
            found += more
        return h, found

    def _inverse(
        self, apply: Callable[..., Any], x: jax.Array, context: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, list[Bijector], list[Bijector | None]]:
        """``apply(layer, x, context, key=...)`` of every level and prior: latents, log-determinant, new layers."""
        h, parts, log_dets = x, [], []
        levels, priors = list(self.levels), list(self.priors)
        for index, level in enumerate(levels):
            with jax.named_scope(f"levels[{index}]"):
                h, log_det, levels[index] = apply(level, h, context, key=prng.fold_in(key, index))
            log_dets.append(log_det)
            if index == len(levels) - 1:
                break
            h, part = jnp.split(h, 2, axis=-1)
            prior = priors[index]
            if prior is not None:
                part, log_det, priors[index] = apply(prior, part, h)
                log_dets.append(log_det)
            parts.append(part)
        z = self.join_latents([*parts, h])
        return z, functools.reduce(jnp.add, log_dets), levels, priors


def _forward(layer: Bijector, z: jax.Array, *args: Any, **options: Any) -> tuple[Any, ...]:
    return layer.forward_and_log_det(z, *args, **options)


def _as_it_is(layer: Bijector, x: jax.Array, *args: Any, **options: Any) -> tuple[Any, ...]:
    return *layer.inverse_and_log_det(x, *args, **options), layer


def _updated(layer: Bijector, x: jax.Array, *args: Any, **options: Any) -> tuple[Any, ...]:
    return layer.inverse_and_update(x, *args, **options)


def _half(shape: tuple[int, ...], index: int) -> tuple[int, ...]:
    """What a level passes on."""
    if len(shape) != 3 or shape[-1] % 2:
        raise ValueError(
            f"MultiScale: level {index} must have latents (h, w, c) with an even number of channels to split, got "
            f"{tuple(shape)}."
        )
    return (*shape[:-1], shape[-1] // 2)
