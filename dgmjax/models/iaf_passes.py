"""The passes of `dgmjax.models.IAFVAE`: up from the data, and down with latents from four sources."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.squeeze import squeeze, unsqueeze
from dgmjax.models.iaf_ladder import LayerTerms
from dgmjax.numerics import prng
from dgmjax.numerics.sharding import varying

Features = list[jax.Array]


def climb(model: Any, x: jax.Array) -> Features:
    """Features of the data for the posteriors, a level each, the finest first."""
    x = model.scaled(x)
    if model.patch > 1:
        x = squeeze(x, order="outer", factor=model.patch)
    x, features = model.first(x), []
    for level, layers in enumerate(model.ladder):
        if level:
            x = model.shrink[level - 1](squeeze(jax.nn.elu(x), order="outer"))
        x, outputs = jax.lax.scan(lambda x, layer: layer.up(x), x, layers)
        features.append(jnp.moveaxis(outputs, 0, -4))
    return features


def descend(
    model: Any, features: Features, seed: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    """Parameters of the likelihood, and ``log p(z)``, ``log q(z | x)`` and the divergences."""
    batch = features[0].shape[:-4]

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, LayerTerms]:
        layer, index, own = inputs
        return layer.infer(x, own, seed=prng.fold_in(seed, index))

    output, parts = _down(model, batch, body, features, drawn=seed)
    log_prior, log_posterior, kl = map(jnp.concatenate, zip(*parts, strict=True))
    kl = jnp.moveaxis(kl, 0, -2).reshape(*batch, len(kl) * kl.shape[-1])
    return output, (log_prior.sum(0), log_posterior.sum(0), kl)


def generate(
    model: Any, seed: jax.Array, temperature: jax.Array, *, shape: tuple[int, ...]
) -> jax.Array:
    """Parameters of the likelihood, for latents of the prior."""

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, None]:
        layer, index = inputs
        own = jax.random.fold_in(seed, index)
        return layer.generate(x, seed=own, temperature=temperature), None

    return _down(model, shape, body, drawn=(seed, temperature))[0]


def code_of(model: Any, x: jax.Array) -> jax.Array:
    """The latents of the posteriors without noise, one vector an event."""

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, jax.Array]:
        layer, _, own = inputs
        return layer.centre(x, own)

    features = climb(model, x)
    batch = features[0].shape[:-4]
    _, latents = _down(model, batch, body, features)
    parts = [jnp.moveaxis(z, 0, -4) for z in latents]
    flat = [z.reshape(*batch, math.prod(z.shape[len(batch) :])) for z in parts]
    return jnp.concatenate(flat, axis=-1)


def output_of_code(model: Any, code: jax.Array) -> jax.Array:
    """Parameters of the likelihood, for given latents."""

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, None]:
        layer, _, z = inputs
        return layer.given(x, z), None

    batch, shapes = code.shape[:-1], model.latent_shapes
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = jnp.split(code, ends, axis=-1)
    latents = [z.reshape(*batch, *shape) for z, shape in zip(parts, shapes, strict=True)]
    return _down(model, batch, body, latents)[0]


def _down(
    model: Any,
    batch: tuple[int, ...],
    body: Callable[[jax.Array, Any], tuple[jax.Array, Any]],
    of_levels: list[jax.Array] | None = None,
    *,
    drawn: Any = None,
) -> tuple[jax.Array, list[Any]]:
    """From the top down: parameters of the likelihood, and what the layers of every level return, the finest first.

    ``body(x, (layer, index, *own))`` is one layer; ``own`` is its part of ``of_levels``, ``[*batch, depth, h, w, c]``.
    ``drawn`` is what random latents come from.
    """
    x, parts = varying(model._start(batch), of_levels, drawn), []
    for level in reversed(range(len(model.ladder))):
        layers = model.ladder[level]
        own = [] if of_levels is None else [jnp.moveaxis(of_levels[level], -4, 0)]
        # Numbers of the layers, which no other level has.
        indices = level * model.depth + jnp.arange(model.depth)
        x, part = jax.lax.scan(body, x, (layers, indices, *own), reverse=True)
        parts.append(part)
        if level:  # features of the finest are done
            x = unsqueeze(model.grow[level - 1](jax.nn.elu(x)), order="outer")
    return model._end(x), parts[::-1]
