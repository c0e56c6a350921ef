"""The ladder variational autoencoder of images with inverse autoregressive posteriors."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.bijectors.squeeze import squeezed_shape, unsqueeze
from dgmjax.checks import as_shape, floating_dtype
from dgmjax.distributions.likelihoods import DiscretizedLogistic, Likelihood
from dgmjax.distributions.likelihoods import likelihood as named_likelihood
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.decoder_mean import decoded
from dgmjax.models.iaf_ladder import LadderLayer
from dgmjax.models.iaf_passes import Features, climb, code_of, descend, generate, output_of_code
from dgmjax.models.latent_variable import LatentVariableModel
from dgmjax.nets.conv import Conv
from dgmjax.numerics.compiled import compiled
from dgmjax.objectives.elbo import ELBOTerms

_INIT = nnx.initializers.lecun_normal()
# Outputs near 0 are what likelihoods start well from.
_LAST_INIT = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")


@recorded
class IAFVAE(LatentVariableModel):
    """``p(x) = int p(x | z) prod_l p(z_l | z_>l) dz`` over images, with the posterior ``prod_l q(z_l | x, z_>l)``.

    A deterministic pass goes up from the image through all layers, a stochastic one comes down from a learned constant;
    posteriors join what both know. Latents are images themselves, a few channels at every resolution: there are
    ``resolutions``, each with half the sides of the one before, of ``depth`` layers (`dgmjax.models.LadderLayer`). The
    last, coarsest, level is the top. Resolutions change by blocks of pixels that become channels, then a 3x3
    convolution (`dgmjax.bijectors.squeeze`).

    The divergence comes in groups: one for every layer, the finest first, and channel, summed over the pixels; so
    ``NegativeELBO(free_bits=0.1)`` is the paper's objective. With the autoregressive step a group is this sample's
    ``log q - log p``; without it the closed form, given the latents above.

    Args:
      event_shape: ``(h, w, c)``; ``patch 2^(resolutions - 1)`` divides the sides.
      num_levels: levels of discrete data; None for a continuous likelihood, given as such.
      resolutions: number of resolutions.
      depth: layers of a resolution.
      width: channels of the features; 160 in the paper for CIFAR-10.
      latent_channels: channels of the latents of a layer; 32 in the paper.
      iaf_depth: hidden layers of the masked network of the autoregressive step; 0 switches the step off, which leaves
        diagonal Gaussian posteriors.
      patch: side of the blocks of pixels that are one pixel of the finest latents; 2 in the paper.
      likelihood: ``p(x | z)``, a `dgmjax.likelihoods.Likelihood` or a name, ``"discretized_logistic"`` or
        ``"discretized_logistic_mixture"``. Default the first with one learned scale, the paper's.
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
        resolutions: int = 2,
        depth: int = 2,
        width: int = 64,
        latent_channels: int = 8,
        iaf_depth: int = 2,
        patch: int = 2,
        likelihood: str | Likelihood | None = None,
        rngs: nnx.Rngs,
    ):
        if min(resolutions, depth, width, latent_channels, patch) < 1 or iaf_depth < 0:
            raise ValueError(
                f"IAFVAE: expected resolutions, depth, width, latent_channels and patch of at least 1 and iaf_depth of "
                f"at least 0, got {resolutions}, {depth}, {width}, {latent_channels}, {patch} and {iaf_depth}."
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
        self.patch, self.depth = patch, depth
        shape = self.event_shape if patch == 1 else squeezed_shape(self.event_shape, factor=patch)
        for _ in range(resolutions - 1):
            shape = (*squeezed_shape(shape)[:2], 1)
        self.top = shape[:2]
        conv = functools.partial(Conv, 3, rngs=rngs)
        pixels = patch**2
        self.first = conv(pixels * self.event_shape[-1], width, init=_INIT)
        self.last = conv(width, pixels * math.prod(likelihood.output_shape[2:]), init=_LAST_INIT)

        def level() -> LadderLayer:
            """The layers of a level as one module, whose arrays have the axis of the layers first."""
            make = functools.partial(LadderLayer, width, latent_channels, iaf_depth=iaf_depth)
            layers = [make(rngs=rngs) for _ in range(depth)]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)

        self.ladder = nnx.List([level() for _ in range(resolutions)])
        self.shrink = nnx.List([conv(4 * width, width, init=_INIT) for _ in range(resolutions - 1)])
        self.grow = nnx.List([conv(width, 4 * width, init=_INIT) for _ in range(resolutions - 1)])
        self.start = nnx.Param(jnp.zeros(width, jnp.float32))
        self.num_levels = likelihood.num_levels

    @compiled
    def encode(self, x: jax.Array, *, key: jax.Array | None = None) -> Features:
        """What the posteriors need of the data: for every level ``[*batch, depth, h_l, w_l, f]``."""
        del key
        return climb(self, x)

    @compiled
    def terms(
        self, x: jax.Array, features: Features, *, seed: jax.Array, key: jax.Array | None = None
    ) -> ELBOTerms:
        """One sample of all latents, its log-densities, and the divergences in groups."""
        output, terms = descend(self, features, seed)
        log_likelihood = self.likelihood.log_prob(x, output, key=key)
        return ELBOTerms(log_likelihood, *terms)

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw the latents from the top down, then ``x ~ p(x | z)``: ``[*sample_shape, *event]``, integers if discrete.

        Args:
          seed: typed key.
          sample_shape: int or tuple.
          temperature: factor on the noise of the latents.
        """
        latent_key, pixel_key = jax.random.split(seed)
        output = self.sample_outputs(latent_key, sample_shape, temperature)
        return self.likelihood.sample(output, seed=pixel_key)

    @compiled
    def sample_outputs(
        self,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Parameters of the likelihood for latents drawn from the prior: ``[*sample_shape, *output_shape]``."""
        temperature = jnp.asarray(temperature, floating_dtype(self))
        return generate(self, seed, temperature, shape=as_shape(sample_shape))

    @compiled
    def reconstruct(self, x: jax.Array, *, seed: jax.Array) -> jax.Array:
        """``E[x | z]`` for one sample of the posterior; shape of ``x``, floats in units of the data."""
        return self.likelihood.mean(descend(self, self.encode(x), seed)[0])

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """``(depth, h, w, c)`` of the latents of every level, the finest first."""
        height, width = self.top
        channels, last = self.ladder[0].latent_channels, len(self.ladder) - 1
        factors = [2 ** (last - level) for level in range(last + 1)]
        return [(self.depth, height * f, width * f, channels) for f in factors]

    @property
    def code_shape(self) -> tuple[int, ...]:
        """``(d,)``, all latents."""
        return (sum(map(math.prod, self.latent_shapes)),)

    @compiled
    def code(self, x: jax.Array) -> jax.Array:
        """All latents as one vector, the finest first, of the posteriors without noise: ``[*batch, d]``."""
        return code_of(self, x)

    @compiled
    def from_code(self, code: jax.Array) -> jax.Array:
        """``E[x | z]`` in units of the data: ``[*batch, d] -> [*batch, *event]``."""
        return decoded(self.likelihood, output_of_code(self, code))

    def _start(self, batch: tuple[int, ...]) -> jax.Array:
        return jnp.broadcast_to(self.start[...], (*batch, *self.top, self.start.shape[0]))

    def _end(self, x: jax.Array) -> jax.Array:
        """Features of the finest resolution to the parameters of the likelihood."""
        out = self.last(jax.nn.elu(x))
        if self.patch > 1:
            out = unsqueeze(out, order="outer", factor=self.patch)
        return out.reshape(*out.shape[:-3], *self.likelihood.output_shape)
