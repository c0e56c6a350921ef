"""One layer of the bidirectional ladder: a bottom-up block, and a top-down block with latents."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import widened
from dgmjax.densities.normal import normal_kl, normal_log_prob
from dgmjax.distributions.posteriors import DiagonalGaussian
from dgmjax.nets.conv import Conv
from dgmjax.nets.pixelcnn.conv_net import CausalConvNet
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

_INIT = nnx.initializers.lecun_normal()
# Heads start near 0, so posterior and prior near the standard normal: the scale of the authors' start from data.
_HEAD_INIT = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")
_RESIDUAL = 0.1
_STEP = 0.1


class LayerTerms(NamedTuple):
    """What the sample of one layer says, in nats.

    Attributes:
      log_prior: ``log p(z_l | z_>l)``, ``[*batch]``.
      log_posterior: ``log q(z_l | x, z_>l)``, ``[*batch]``.
      kl: their divergence, one number a channel, summed over the pixels: ``[*batch, latent_channels]``.
    """

    log_prior: jax.Array
    log_posterior: jax.Array
    kl: jax.Array


class LadderLayer(Module):
    """Latents ``z`` of shape ``(h, w, c)`` between features of ``width`` channels going up and coming down.

    Up: ``h <- h + 0.1 conv(elu(conv(elu(h))))``, then, of ``elu(h)``, what the data say: a mean, a log-scale and a
    context. Down: of ``elu(h)`` the prior ``N(mu_p, sigma_p^2)``, the same three from above, which are added to those
    from below, and deterministic features; then ``h <- h + 0.1 conv(elu([z, features]))``. In between the posterior

    ``z0 = mu_q + sigma_q noise``,  ``z = (z0 - 0.1 m) exp(-0.1 s)``,
    ``log q(z) = log N(z0; mu_q, sigma_q^2) + 0.1 sum s``,

    with ``m, s`` from a causal network of ``z0`` and the context. (In the authors' code the posterior is read off the
    inner features of the block that goes up; here off its output, so that the last block is not idle.)

    Args:
      width: channels of the features.
      latent_channels: ``c``.
      iaf_depth: hidden layers of the causal network; 0 for the diagonal Gaussian posterior.
      rngs: ``nnx.Rngs`` for the initial weights.

    Source: Kingma et al., 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934,
      section 4, equations 9-11 for the step, and the authors' code.
    """

    def __init__(self, width: int, latent_channels: int, *, iaf_depth: int, rngs: nnx.Rngs):
        conv = functools.partial(Conv, 3, rngs=rngs)
        self.latent_channels = latent_channels
        context = width if iaf_depth else 0
        self.up_inner = conv(width, width, init=_INIT)
        self.up_outer = conv(width, width, init=_INIT)
        self.up_heads = conv(width, 2 * latent_channels + context, init=_HEAD_INIT)
        self.down_inner = conv(width, width, init=_INIT)
        self.down_heads = conv(width, 4 * latent_channels + context, init=_HEAD_INIT)
        self.down_outer = conv(latent_channels + width, width, init=_INIT)
        self.flow = nnx.data(None)
        if iaf_depth:
            self.flow = CausalConvNet(
                latent_channels, 2 * latent_channels, width=width, depth=iaf_depth, rngs=rngs
            )

    def up(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``[*batch, h, w, width]`` to the same, and what the posterior needs of the data, ``[*batch, h, w, f]``."""
        hidden = jax.nn.elu(self.up_inner(jax.nn.elu(x)))
        x = x + _RESIDUAL * self.up_outer(hidden)
        return x, self.up_heads(jax.nn.elu(x))

    def infer(
        self, x: jax.Array, features: jax.Array, *, seed: jax.Array
    ) -> tuple[jax.Array, LayerTerms]:
        """The block that comes down, with a sample of the posterior.

        Args:
          x: ``[*batch, h, w, width]``.
          features: of the data, the second result of `up`.
          seed: of the sample; one key, or one an example.
        """
        prior, own, deterministic = self._heads(x)
        split = 2 * self.latent_channels
        gaussian, context = jnp.split(features + own, (split,), axis=-1)
        (mean, log_std), (prior_mean, prior_log_std) = self._moments(gaussian), prior
        noise = _noise(seed, mean)
        z = mean + jnp.exp(log_std) * noise
        log_posterior = normal_log_prob(noise, 0.0, 0.0) - log_std
        if self.flow is not None:
            z, log_det = self.transform(z, context)
            log_posterior = log_posterior - log_det
        log_prior = normal_log_prob(z, prior_mean, prior_log_std)
        kl = log_posterior - log_prior
        if self.flow is None:
            kl = normal_kl(mean, log_std, prior_mean, prior_log_std)
        terms = LayerTerms(
            widened(log_prior).sum((-3, -2, -1)),
            widened(log_posterior).sum((-3, -2, -1)),
            widened(kl).sum((-3, -2)),
        )
        return self._finish(x, z, deterministic), terms

    def centre(self, x: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`infer` without noise: the features that come down, and the latents ``[*batch, h, w, c]``."""
        _, own, deterministic = self._heads(x)
        gaussian, context = jnp.split(features + own, (2 * self.latent_channels,), axis=-1)
        z, _ = self._moments(gaussian)
        if self.flow is not None:
            z, _ = self.transform(z, context)
        return self._finish(x, z, deterministic), z

    def given(self, x: jax.Array, z: jax.Array) -> jax.Array:
        """The block that comes down, with the latents ``z``."""
        return self._finish(x, z, self._heads(x)[2])

    @compiled
    def generate(self, x: jax.Array, *, seed: jax.Array, temperature: ArrayLike = 1.0) -> jax.Array:
        """The block that comes down, with a sample of the prior; ``temperature`` is a factor on its noise."""
        (mean, log_std), _, deterministic = self._heads(x)
        noise = jnp.asarray(temperature, mean.dtype) * _noise(seed, mean)
        return self._finish(x, mean + jnp.exp(log_std) * noise, deterministic)

    def transform(self, z: jax.Array, context: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The autoregressive step ``(z - 0.1 m) exp(-0.1 s)`` and its log-derivatives ``-0.1 s``, elementwise.

        Args:
          z: ``[*batch, h, w, c]``.
          context: ``[*batch, h, w, width]``.

        Returns:
          Both ``[*batch, h, w, c]``; the sum of the second is ``log |det dz'/dz|``, since ``m`` and ``s`` at a pixel
          are functions of the pixels before it.
        """
        shift, log_scale = jnp.split(_STEP * self.flow(z, context), 2, axis=-1)  # type: ignore[misc]
        return (z - shift) * jnp.exp(-log_scale), -log_scale

    def _heads(self, x: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array]:
        """Moments of the prior, what is added to the features of the data, and deterministic features."""
        active = jax.nn.elu(x)
        prior, own = jnp.split(self.down_heads(active), (2 * self.latent_channels,), axis=-1)
        return self._moments(prior), own, self.down_inner(active)

    def _moments(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        return DiagonalGaussian(self.latent_channels).moments(features)

    def _finish(self, x: jax.Array, z: jax.Array, deterministic: jax.Array) -> jax.Array:
        joined = jax.nn.elu(jnp.concatenate([z, deterministic], axis=-1))
        return x + _RESIDUAL * self.down_outer(joined)


def _noise(seed: jax.Array, like: jax.Array) -> jax.Array:
    return prng.draw(lambda key, shape: jax.random.normal(key, shape, like.dtype), seed, like.shape)
