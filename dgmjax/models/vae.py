"""The variational autoencoder, put together from an encoder, a posterior, a prior, a decoder and a likelihood."""

from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import as_shape
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import standard_normal
from dgmjax.distributions.likelihoods import Likelihood
from dgmjax.distributions.likelihoods import likelihood as named_likelihood
from dgmjax.distributions.posteriors import Posterior
from dgmjax.distributions.posteriors import posterior as named_posterior
from dgmjax.distributions.posteriors.mixture import PosteriorMixturePrior
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.decoder_mean import decoded
from dgmjax.models.latent_variable import (
    Evaluate,
    PriorAndLikelihoodModel,
    as_prior,
    log_prob_as_it_is,
    prior_with_data_init,
)
from dgmjax.models.vae_networks import NetworkName, make_decoder, make_encoder, near_zero
from dgmjax.nets.activations import Activation
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.objectives.elbo import ELBOTerms


@recorded
class VAE(PriorAndLikelihoodModel):
    """``p(x) = int p(x | z) p(z) dz`` with the amortised posterior ``q(z | x)``; every part can be exchanged.

    The encoder maps the data (levels in [-1, 1]) to the parameters of the posterior, the decoder maps latents to those
    of the likelihood. The outputs of both start near 0, a tenth of what the layers before would make: posteriors near
    ``N(0, I)``, pixels of discrete data nearly uniform.

    Args:
      event_shape: shape of an event, a vector or an image ``(h, w, c)``.
      latent_dim: number ``d`` of latents.
      likelihood: ``p(x | z)``, a `dgmjax.likelihoods.Likelihood` or a name: ``"bernoulli"``, ``"gaussian"``,
        ``"categorical"``, ``"discretized_logistic"`` or ``"discretized_logistic_mixture"``, see
        `dgmjax.likelihoods.likelihood`.
      num_levels: levels of discrete data, for a likelihood by name.
      num_components: logistics of a pixel, of ``"discretized_logistic_mixture"``.
      prior: ``p(z)``: any object with ``event_shape == (d,)``, ``log_prob`` and ``sample``: one of `dgmjax.priors`, a
        flow, a distrax distribution; or one with ``given``, see `dgmjax.priors.VampPrior`. Default ``N(0, I)``.
      posterior: ``q(z | x)``, a `dgmjax.posteriors.Posterior` or a name: ``"gaussian"``, ``"full_covariance"``,
        ``"planar"``, ``"radial"``, ``"sylvester"``, ``"coupling"`` or ``"iaf"``, see `dgmjax.posteriors.posterior`.
      network: of encoder and decoder: ``"mlp"``, ``"gated_mlp"``, ``"gated_conv"`` or ``"residual_conv"``.
      encoder: a module ``encoder(x, key=None) -> [*batch, posterior.feature_size]`` instead.
      decoder: a module ``decoder(z, key=None) -> [*batch, *likelihood.output_shape]`` instead.
      width: hidden units, or channels of the first convolutions.
      depth: hidden layers, or blocks.
      activation: of ``"mlp"``, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: probability of dropping a hidden unit in training.
      posterior_depth: flow layers of a posterior by name.
      posterior_width: hidden units of the networks of such a posterior.
      context_size: numbers that the encoder gives to these networks.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: parts whose shapes do not fit, or unknown names.

    Example:
      >>> import dgmjax as dgm
      >>> from flax import nnx
      >>> vae = dgm.VAE((4,), latent_dim=2, width=8, likelihood="bernoulli", rngs=nnx.Rngs(0))
      >>> print(vae.bound(num_samples=50))
      importance-weighted bound, K=50 (variational posterior)

    Source: Kingma and Welling, 2014, *Auto-encoding variational Bayes*, arXiv:1312.6114; Rezende et al., 2014,
      arXiv:1401.4082.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        latent_dim: int = 32,
        likelihood: str | Likelihood = "bernoulli",
        num_levels: int | None = None,
        num_components: int = 10,
        prior: DistributionLike | PosteriorMixturePrior | None = None,
        posterior: str | Posterior = "gaussian",
        network: NetworkName = "mlp",
        encoder: nnx.Module | None = None,
        decoder: nnx.Module | None = None,
        width: int = 256,
        depth: int = 2,
        activation: Activation = "relu",
        dropout: float = 0.0,
        posterior_depth: int = 4,
        posterior_width: int = 64,
        context_size: int = 64,
        rngs: nnx.Rngs,
    ):
        self.event_shape = tuple(event_shape)
        if isinstance(likelihood, str):
            mixture = likelihood == "discretized_logistic_mixture"
            components = {"num_components": num_components} if mixture else {}
            likelihood = named_likelihood(likelihood, self.event_shape, num_levels, **components)
        if isinstance(posterior, str):
            posterior = named_posterior(
                posterior,
                latent_dim,
                depth=posterior_depth,
                width=posterior_width,
                context_size=context_size,
                rngs=rngs,
            )
        options: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "activation": activation,
            "dropout": dropout,
            "rngs": rngs,
        }
        if encoder is None:
            encoder = near_zero(
                make_encoder(network, self.event_shape, posterior.feature_size, **options)
            )
        if decoder is None:
            decoder = near_zero(
                make_decoder(network, latent_dim, likelihood.output_shape, **options)
            )
        for name, found, expected in (
            ("the likelihood's event_shape", likelihood.event_shape, self.event_shape),
            ("the posterior's event_shape", posterior.event_shape, (latent_dim,)),
            ("the prior's event_shape", getattr(prior, "event_shape", None), (latent_dim,)),
        ):
            if found is not None and tuple(found) != expected:
                raise ValueError(f"VAE: {name} is {tuple(found)}, expected {expected}.")
        self.likelihood = likelihood
        self.posterior = posterior
        self.encoder = nnx.data(encoder)
        self.decoder = nnx.data(decoder)
        self.prior = as_prior(standard_normal((latent_dim,)) if prior is None else prior)
        self.prior_is_standard = prior is None
        self.num_levels = likelihood.num_levels

    @property
    def latent_dim(self) -> int:
        """Number of latents."""
        return self.posterior.event_shape[0]

    @compiled
    def encode(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Parameters of the posterior: ``[*batch, *event] -> [*batch, feature_size]``; the latents are `code`'s."""
        return self.encode_scaled(self.scaled(x), key=key)

    @compiled
    def encode_scaled(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """`encode` of events as the network takes them: floats, discrete data in [-1, 1]."""
        return self.encoder(x) if key is None else self.encoder(x, key=key)

    @compiled
    def decode(self, z: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Parameters of the likelihood: ``[*batch, d] -> [*batch, *output_shape]``."""
        return self.decoder(z) if key is None else self.decoder(z, key=key)

    def _terms(
        self,
        evaluate: Evaluate,
        x: jax.Array,
        features: jax.Array,
        seed: jax.Array,
        key: jax.Array | None,
    ) -> tuple[ELBOTerms, Any, Any]:
        z, log_posterior = self.posterior.sample_and_log_prob(features, seed=seed)
        log_prior, prior = evaluate(self.prior_distribution(), z)
        kl = self.posterior.kl_standard_normal(features) if self.prior_is_standard else None
        if kl is None:
            kl = (log_posterior - log_prior)[..., None]
        log_likelihood, likelihood = self._log_likelihood(evaluate, x, z, key)
        return ELBOTerms(log_likelihood, log_prior, log_posterior, kl), prior, likelihood

    @compiled
    def log_likelihood(
        self, x: jax.Array, z: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``log p(x | z)`` in nats; batch axes broadcast."""
        return self._log_likelihood(log_prob_as_it_is, x, z, key)[0]

    def _log_likelihood(
        self, evaluate: Evaluate, x: jax.Array, z: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, Any]:
        decoder_key, key = (None, None) if key is None else prng.split(key)
        return evaluate(self.likelihood, x, self.decode(z, key=decoder_key), key=key)

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw ``z ~ p(z)``, then ``x ~ p(x | z)``: ``[*sample_shape, *event]``, integers for discrete data.

        Args:
          seed: typed key.
          sample_shape: int or tuple.
          temperature: factor on the latents, for a prior centred at 0.
        """
        latent_key, pixel_key = jax.random.split(seed)
        z = self.sample_latents(latent_key, as_shape(sample_shape))
        z = z * jnp.asarray(temperature, z.dtype)
        return self.likelihood.sample(self.decode(z), seed=pixel_key)

    @compiled
    def sample_latents(self, seed: jax.Array, sample_shape: int | tuple[int, ...]) -> jax.Array:
        """``z ~ p(z)``: ``[*sample_shape, d]``."""
        return self.prior_distribution().sample(seed=seed, sample_shape=as_shape(sample_shape))

    @compiled
    def decoded_mean(self, z: jax.Array) -> jax.Array:
        """``E[x | z]``, in units of the data: ``[*batch, d] -> [*batch, *event]``."""
        return self.likelihood.mean(self.decode(z))

    @property
    def code_shape(self) -> tuple[int, ...]:
        """``(d,)``."""
        return (self.latent_dim,)

    @compiled
    def code(self, x: jax.Array) -> jax.Array:
        """The centre of ``q(z | x)``, the mean of a Gaussian: ``[*batch, *event] -> [*batch, d]``."""
        return self.posterior.centre(self.encode(x))

    @compiled
    def from_code(self, code: jax.Array) -> jax.Array:
        """The event of a code: ``E[x | z]``, or a draw with fixed noise where the likelihood is a model."""
        return decoded(self.likelihood, self.decode(code))

    @compiled
    def reconstruct(self, x: jax.Array, *, seed: jax.Array) -> jax.Array:
        """``E[x | z]`` for one ``z ~ q(z | x)``; shape of ``x``, floats."""
        z, _ = self.posterior.sample_and_log_prob(self.encode(x), seed=seed)
        return self.decoded_mean(z)

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array
    ) -> Self:
        """A new model: pseudo-inputs from the data ``x``, data-dependent layers from ``x`` and its codes."""
        del context
        z, _ = self.posterior.sample_and_log_prob(self.encode(x), seed=seed)
        new = nnx.clone(self)
        new.likelihood = self.likelihood.with_data_init(x, self.decode(z))
        new.prior = prior_with_data_init(self.prior, x, z)
        return new
