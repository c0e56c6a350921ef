"""The ladder variational autoencoder of images with inverse autoregressive posteriors."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.bijectors.squeeze import squeeze, squeezed_shape, unsqueeze
from dgmjax.checks import as_shape, floating_dtype
from dgmjax.layers.constructor import recorded
from dgmjax.likelihoods import DiscretizedLogistic, Likelihood
from dgmjax.likelihoods import likelihood as named_likelihood
from dgmjax.models.iaf_ladder import LadderLayer, LayerTerms
from dgmjax.models.latent_variable import LatentVariableModel
from dgmjax.nets.conv import Conv
from dgmjax.numerics import random
from dgmjax.numerics.sharding import in_any_sharding, varying
from dgmjax.objectives.elbo import ELBOTerms

_INIT = nnx.initializers.lecun_normal()
# Outputs near 0 are what likelihoods start well from.
_LAST_INIT = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")

_Features = list[jax.Array]


@recorded
class IAFVAE(LatentVariableModel):
    """``p(x) = int p(x | z) prod_l p(z_l | z_>l) dz`` over images, with the posterior ``prod_l q(z_l | x, z_>l)``.

    A deterministic pass goes up from the image through all layers, a stochastic one comes down from a learned constant;
    posteriors join what both know. Latents are images themselves, a few channels at every resolution: ``levels`` of
    them, each with half the sides of the one before, and ``depth`` layers (`dgmjax.models.LadderLayer`) in each. The
    last, coarsest, level is the top. Resolutions change by blocks of pixels that become channels, then a 3x3
    convolution (`dgmjax.bijectors.squeeze`).

    The divergence comes in groups: one for every layer, the finest first, and channel, summed over the pixels; so
    ``NegativeELBO(free_bits=0.1)`` is the paper's objective. With the autoregressive step a group is this sample's
    ``log q - log p``; without it the closed form, given the latents above.

    Args:
      event_shape: ``(h, w, c)``; ``patch 2^(levels - 1)`` divides the sides.
      num_levels: levels of discrete data; None for a continuous likelihood, given as such.
      levels: resolutions.
      depth: layers of a resolution.
      width: channels of the features; 160 in the paper for CIFAR-10.
      latent_channels: channels of the latents of a layer; 32 in the paper.
      iaf_depth: hidden layers of the masked network of the autoregressive step; 0 switches the step off, which leaves
        diagonal Gaussian posteriors.
      patch: side of the blocks of pixels that are one pixel of the finest latents; 2 in the paper.
      likelihood: ``p(x | z)``: a `dgmjax.likelihoods.Likelihood`, or its name. Default a discretized logistic with one
        learned scale, the paper's.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: sides that cannot be halved, a number out of range, or a likelihood whose parameters are no image.

    Source: Kingma et al., 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934,
      section 6.2, appendix C, and the authors' code; without data-dependent initialization.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = 256,
        *,
        levels: int = 2,
        depth: int = 2,
        width: int = 64,
        latent_channels: int = 8,
        iaf_depth: int = 2,
        patch: int = 2,
        likelihood: str | Likelihood | None = None,
        rngs: nnx.Rngs,
    ):
        if min(levels, depth, width, latent_channels, patch) < 1 or iaf_depth < 0:
            raise ValueError(
                f"IAFVAE: expected levels, depth, width, latent_channels and patch of at least 1 and iaf_depth of at "
                f"least 0, got {levels}, {depth}, {width}, {latent_channels}, {patch} and {iaf_depth}."
            )
        self.event_shape = tuple(event_shape)
        if likelihood is None:
            if num_levels is None:
                raise ValueError(
                    "IAFVAE: the default likelihood needs num_levels; for continuous data pass likelihood='gaussian'."
                )
            likelihood = DiscretizedLogistic(self.event_shape, num_levels, scale="global")
        elif isinstance(likelihood, str):
            likelihood = named_likelihood(likelihood, self.event_shape, num_levels)
        if likelihood.event_shape != self.event_shape or (
            likelihood.output_shape[:2] != self.event_shape[:2]
        ):
            raise ValueError(
                f"IAFVAE: expected a likelihood of events {self.event_shape} with parameters for every pixel, got one "
                f"of events {likelihood.event_shape} and parameters {likelihood.output_shape}."
            )
        self.likelihood = likelihood
        self.patch = patch
        shape = self.event_shape if patch == 1 else squeezed_shape(self.event_shape, factor=patch)
        for _ in range(levels - 1):
            shape = (*squeezed_shape(shape)[:2], 1)
        self.top = shape[:2]
        conv = functools.partial(Conv, 3, edge=False, bias=True, rngs=rngs)
        pixels = patch**2
        self.first = conv(pixels * self.event_shape[-1], width, init=_INIT)
        self.last = conv(width, pixels * math.prod(likelihood.output_shape[2:]), init=_LAST_INIT)

        def level() -> LadderLayer:
            """The layers of a level as one module, whose arrays have the axis of the layers first."""
            make = functools.partial(LadderLayer, width, latent_channels, iaf_depth=iaf_depth)
            layers = [make(rngs=rngs) for _ in range(depth)]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)

        self.ladder = nnx.List([level() for _ in range(levels)])
        self.shrink = nnx.List([conv(4 * width, width, init=_INIT) for _ in range(levels - 1)])
        self.grow = nnx.List([conv(width, 4 * width, init=_INIT) for _ in range(levels - 1)])
        self.start = nnx.Param(jnp.zeros(width, jnp.float32))

    @property
    def num_levels(self) -> int | None:
        """Those of the likelihood."""
        return self.likelihood.num_levels

    @in_any_sharding
    def encode(self, x: jax.Array, *, key: jax.Array | None = None) -> _Features:
        """What the posteriors need of the data: for every level ``[*batch, depth, h_l, w_l, f]``."""
        del key
        return _climb(self, x)

    def terms(
        self, x: jax.Array, features: _Features, *, seed: jax.Array, key: jax.Array | None = None
    ) -> ELBOTerms:
        """One sample of all latents, its log-densities, and the divergences in groups."""
        output, terms = _descend(self, features, seed)
        log_likelihood = self.likelihood.log_prob(x, output, key=key)
        return ELBOTerms(log_likelihood, *terms)

    @in_any_sharding
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw the latents from the top down, then ``x ~ p(x | z)``: ``[*sample_shape, *event]``, int32 if discrete.

        Args:
          seed: typed key.
          sample_shape: int or tuple.
          temperature: factor on the noise of the latents.
        """
        latent_key, pixel_key = jax.random.split(seed)
        output = self.sample_outputs(latent_key, sample_shape, temperature)
        return self.likelihood.sample(output, seed=pixel_key)

    def sample_outputs(
        self,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Parameters of the likelihood for latents drawn from the prior: ``[*sample_shape, *output_shape]``."""
        temperature = jnp.asarray(temperature, floating_dtype(self))
        return _generate(self, seed, temperature, shape=as_shape(sample_shape))

    @in_any_sharding
    def reconstruct(self, x: jax.Array, *, seed: jax.Array) -> jax.Array:
        """``E[x | z]`` for one sample of the posterior; shape of ``x``, floats in units of the data."""
        return self.likelihood.mean(_descend(self, self.encode(x), seed)[0])

    def _start(self, batch: tuple[int, ...]) -> jax.Array:
        return jnp.broadcast_to(self.start[...], (*batch, *self.top, self.start.shape[0]))

    def _end(self, x: jax.Array) -> jax.Array:
        """Features of the finest resolution to the parameters of the likelihood."""
        out = self.last(jax.nn.elu(x))
        if self.patch > 1:
            out = unsqueeze(out, order="outer", factor=self.patch)
        return out.reshape(*out.shape[:-3], *self.likelihood.output_shape)


# Compiled once a shape also where the caller compiles nothing: an eager scan would be compiled at every call.
@jax.jit
def _climb(model: IAFVAE, x: jax.Array) -> _Features:
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


@jax.jit
def _descend(
    model: IAFVAE, features: _Features, seed: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    """Parameters of the likelihood, and ``log p(z)``, ``log q(z | x)`` and the divergences."""
    batch = features[0].shape[:-4]

    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, LayerTerms]:
        layer, own, index = inputs
        return layer.infer(x, own, seed=random.fold_in(seed, index))

    x, parts = varying(model._start(batch), features, seed), []
    for level in reversed(range(len(model.ladder))):
        own = jnp.moveaxis(features[level], -4, 0)
        inputs = (model.ladder[level], own, _indices(own, level))
        x, terms = jax.lax.scan(body, x, inputs, reverse=True)
        parts.append(terms)
        x = _grown(model, x, level)
    log_prior, log_posterior, kl = map(jnp.concatenate, zip(*parts[::-1], strict=True))
    kl = jnp.moveaxis(kl, 0, -2).reshape(*batch, len(kl) * kl.shape[-1])
    return model._end(x), (log_prior.sum(0), log_posterior.sum(0), kl)


@functools.partial(jax.jit, static_argnames="shape")
def _generate(
    model: IAFVAE, seed: jax.Array, temperature: jax.Array, *, shape: tuple[int, ...]
) -> jax.Array:
    def body(x: jax.Array, inputs: Any) -> tuple[jax.Array, None]:
        layer, index = inputs
        own = jax.random.fold_in(seed, index)
        return layer.generate(x, seed=own, temperature=temperature), None

    x = varying(model._start(shape), seed, temperature)
    for level in reversed(range(len(model.ladder))):
        layers = model.ladder[level]
        inputs = (layers, _indices(jax.tree.leaves(layers)[0], level))
        x, _ = jax.lax.scan(body, x, inputs, reverse=True)
        x = _grown(model, x, level)
    return model._end(x)


def _grown(model: IAFVAE, x: jax.Array, level: int) -> jax.Array:
    """Features at the next finer resolution; those of the finest are done."""
    if not level:
        return x
    return unsqueeze(model.grow[level - 1](jax.nn.elu(x)), order="outer")


def _indices(stack: jax.Array, level: int) -> jax.Array:
    """Numbers of the layers of a level, which no other level has."""
    depth = stack.shape[0]
    return level * depth + jnp.arange(depth)
