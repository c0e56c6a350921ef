"""The variational autoencoder with two layers of latents."""

import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import as_shape, widened
from dgmjax.densities.normal import normal_kl
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import standard_normal
from dgmjax.distributions.likelihoods import Likelihood
from dgmjax.distributions.likelihoods import likelihood as named_likelihood
from dgmjax.distributions.posteriors import DiagonalGaussian
from dgmjax.distributions.posteriors.mixture import PosteriorMixturePrior
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.decoder_mean import decoded
from dgmjax.models.latent_variable import (
    Evaluate,
    PriorAndLikelihoodModel,
    as_prior,
    prior_with_data_init,
)
from dgmjax.models.vae_networks import near_zero
from dgmjax.nets.gated_mlp import GatedMLP
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.objectives.elbo import ELBOTerms


@recorded
class HierarchicalVAE(PriorAndLikelihoodModel):
    """``p(x) = int p(x | z1, z2) p(z1 | z2) p(z2) dz1 dz2`` with ``q(z1 | x, z2) q(z2 | x)``.

    Both posteriors and ``p(z1 | z2)`` are diagonal Gaussians, all networks gated MLPs; one that has two inputs takes
    them side by side. The prior of ``z2`` can be learned. The divergence is

    ``KL = E_q(z2 | x) KL(q(z1 | x, z2) || p(z1 | z2)) + KL(q(z2 | x) || p(z2))``,

    in groups: first one for every dimension of ``z1``, in closed form given the sample of ``z2``, then those of ``z2``,
    one a dimension in closed form for the standard prior, else a single one.

    Args:
      event_shape: shape of an event, a vector or an image.
      latent_dims: numbers of latents of the two layers, ``(d1, d2)``.
      likelihood: ``p(x | z1, z2)``, a `dgmjax.likelihoods.Likelihood` or a name: ``"bernoulli"``, ``"gaussian"``,
        ``"categorical"``, ``"discretized_logistic"`` or ``"discretized_logistic_mixture"``.
      num_levels: levels of discrete data, for a likelihood by name.
      prior: ``p(z2)``: as in `dgmjax.VAE`, an object with ``event_shape == (d2,)``, ``log_prob`` and ``sample``, or one
        with ``given``, such as `dgmjax.priors.VampPrior`. Default ``N(0, I)``.
      width: hidden units; 300 in the paper.
      depth: hidden layers of every network; 2 in the paper.
      dropout: probability of dropping a hidden unit in training.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: parts whose shapes do not fit, or not two layers.

    Source: Tomczak and Welling, 2018, *VAE with a VampPrior*, arXiv:1705.07120, section 4, and the authors' code
      (HVAE).
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        latent_dims: Sequence[int] = (32, 32),
        likelihood: str | Likelihood = "bernoulli",
        num_levels: int | None = None,
        prior: DistributionLike | PosteriorMixturePrior | None = None,
        width: int = 300,
        depth: int = 2,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.event_shape = tuple(event_shape)
        if isinstance(likelihood, str):
            likelihood = named_likelihood(likelihood, self.event_shape, num_levels)
        if len(latent_dims) != 2 or min(latent_dims) < 1:
            raise ValueError(
                f"HierarchicalVAE: latent_dims: expected two numbers of at least 1, got {tuple(latent_dims)}."
            )
        first, second = latent_dims
        for name, found, expected in (
            ("the likelihood's event_shape", likelihood.event_shape, self.event_shape),
            ("the prior's event_shape", getattr(prior, "event_shape", None), (second,)),
        ):
            if found is not None and tuple(found) != expected:
                raise ValueError(f"HierarchicalVAE: {name} is {tuple(found)}, expected {expected}.")
        self.latent_dims = (first, second)
        self.likelihood = likelihood
        self.lower, self.posterior = DiagonalGaussian(first), DiagonalGaussian(second)
        size = math.prod(self.event_shape)

        def net(in_size: int, out_shape: Sequence[int]) -> GatedMLP:
            made = GatedMLP(
                in_size, out_shape, width=width, depth=depth, dropout=dropout, rngs=rngs
            )
            return near_zero(made)

        self.encoder = net(size, (self.posterior.feature_size,))
        self.lower_encoder = net(size + second, (self.lower.feature_size,))
        self.lower_prior = net(second, (self.lower.feature_size,))
        self.decoder = net(first + second, likelihood.output_shape)
        self.prior = as_prior(standard_normal((second,)) if prior is None else prior)
        self.prior_is_standard = prior is None
        self.num_levels = likelihood.num_levels

    @compiled
    def encode(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Parameters of ``q(z2 | x)``: ``[*batch, *event] -> [*batch, 2 d2]``."""
        return self.encode_scaled(self.scaled(x), key=key)

    @compiled
    def encode_scaled(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """`encode` of events as the network takes them: floats, discrete data in [-1, 1]."""
        return self.encoder(self._flat(x), key=key)

    @compiled
    def decode(self, z1: jax.Array, z2: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Parameters of the likelihood: ``[*batch, d1]`` and ``[*batch, d2]`` to ``[*batch, *output_shape]``."""
        return self.decoder(jnp.concatenate([z1, z2], axis=-1), key=key)

    def sample_posterior(
        self,
        x: jax.Array,
        features: jax.Array,
        *,
        seed: jax.Array,
        key: jax.Array | None = None,
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array], jax.Array]:
        """Draw ``z2 ~ q(z2 | x)``, then ``z1 ~ q(z1 | x, z2)``.

        Args:
          x: events.
          features: what `encode` returned for them.
          seed: of the samples; one key, or one an example.
          key: switches dropout on.

        Returns:
          ``(z1, z2)``; their log-densities ``[*batch]``; and the parameters of ``q(z1 | x, z2)``.
        """
        seed1, seed2 = prng.split(seed)
        z2, log_q2 = self.posterior.sample_and_log_prob(features, seed=seed2)
        inputs = jnp.concatenate([self._flat(self.scaled(x)), z2], axis=-1)
        lower_features = self.lower_encoder(inputs, key=key)
        z1, log_q1 = self.lower.sample_and_log_prob(lower_features, seed=seed1)
        return (z1, z2), (log_q1, log_q2), lower_features

    def _terms(
        self,
        evaluate: Evaluate,
        x: jax.Array,
        features: jax.Array,
        seed: jax.Array,
        key: jax.Array | None,
    ) -> tuple[ELBOTerms, Any, Any]:
        keys: list[Any] = [None] * 4 if key is None else prng.split(key, 4)
        (z1, z2), (log_q1, log_q2), q1 = self.sample_posterior(x, features, seed=seed, key=keys[0])
        p1 = self.lower_prior(z2, key=keys[1])
        log_p1 = self.lower.log_prob(z1, p1)
        log_p2, prior = evaluate(self.prior_distribution(), z2)
        kl2 = (log_q2 - log_p2)[..., None]
        if self.prior_is_standard:
            kl2 = self.posterior.kl_standard_normal(features)
        kl1 = widened(normal_kl(*self.lower.moments(q1), *self.lower.moments(p1)))
        output = self.decode(z1, z2, key=keys[2])
        log_likelihood, likelihood = evaluate(self.likelihood, x, output, key=keys[3])
        kl = jnp.concatenate([kl1, kl2], axis=-1)
        terms = ELBOTerms(log_likelihood, log_p1 + log_p2, log_q1 + log_q2, kl)
        return terms, prior, likelihood

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw ``z2``, ``z1`` and ``x`` in this order: ``[*sample_shape, *event]``, integers for discrete data.

        Args:
          seed: typed key.
          sample_shape: int or tuple.
          temperature: factor on ``z2``, for a prior centred at 0, and on the noise of ``z1``.
        """
        latent_key, pixel_key = jax.random.split(seed)
        latents = self.sample_latents(latent_key, sample_shape, temperature)
        return self.likelihood.sample(self.decode(*latents), seed=pixel_key)

    @compiled
    def sample_latents(
        self,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> tuple[jax.Array, jax.Array]:
        """``z1 ~ p(z1 | z2)`` and ``z2 ~ p(z2)``: ``[*sample_shape, d1]`` and ``[*sample_shape, d2]``."""
        key1, key2 = jax.random.split(seed)
        z2 = self.prior_distribution().sample(seed=key2, sample_shape=as_shape(sample_shape))
        z2 = z2 * jnp.asarray(temperature, z2.dtype)
        mean, log_std = self.lower.moments(self.lower_prior(z2))
        noise = jax.random.normal(key1, mean.shape, mean.dtype)
        return mean + jnp.asarray(temperature, mean.dtype) * jnp.exp(log_std) * noise, z2

    @property
    def code_shape(self) -> tuple[int, ...]:
        """``(d1 + d2,)``."""
        return (sum(self.latent_dims),)

    @compiled
    def code(self, x: jax.Array) -> jax.Array:
        """``z1`` and ``z2`` side by side, ``[*batch, d1 + d2]``: the means of ``q(z1 | x, z2)`` and ``q(z2 | x)``."""
        z2 = self.posterior.centre(self.encode(x))
        inputs = jnp.concatenate([self._flat(self.scaled(x)), z2], axis=-1)
        return jnp.concatenate([self.lower.centre(self.lower_encoder(inputs)), z2], axis=-1)

    @compiled
    def from_code(self, code: jax.Array) -> jax.Array:
        """The event of a code, ``E[x | z1, z2]``, or a draw with fixed noise where the likelihood is a model."""
        return decoded(self.likelihood, self.decoder(code))

    @compiled
    def reconstruct(self, x: jax.Array, *, seed: jax.Array) -> jax.Array:
        """``E[x | z1, z2]`` for one sample of the posterior; shape of ``x``, floats in units of the data."""
        latents, _, _ = self.sample_posterior(x, self.encode(x), seed=seed)
        return self.likelihood.mean(self.decode(*latents))

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array
    ) -> Self:
        """A new model: pseudo-inputs from the data ``x``, data-dependent layers from ``x`` and its codes."""
        del context
        (z1, z2), _, _ = self.sample_posterior(x, self.encode(x), seed=seed)
        new = nnx.clone(self)
        new.likelihood = self.likelihood.with_data_init(x, self.decode(z1, z2))
        new.prior = prior_with_data_init(self.prior, x, z2)
        return new

    def _flat(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[: x.ndim - len(self.event_shape)], math.prod(self.event_shape))
