"""What models with latent variables share: bounds on the likelihood from samples of a posterior."""

from collections.abc import Callable
from typing import Any, Self, TypeAlias

import jax
from flax import nnx

from dgmjax.checks import check_float_event, check_integer_event, floating_dtype
from dgmjax.densities.bound import Bound
from dgmjax.densities.rgb_mixture import rescaled
from dgmjax.distributions.base import Density, DistributionLike, as_density
from dgmjax.distributions.posteriors.mixture import PosteriorMixturePrior
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.importance_weighting import log_mean_weight
from dgmjax.objectives.elbo import ELBOTerms

Evaluate: TypeAlias = Callable[
    ..., tuple[jax.Array, Any]
]  # (density, value, ...) to density's, and a new density


def as_prior(prior: DistributionLike | PosteriorMixturePrior) -> Density | PosteriorMixturePrior:
    """The prior of a model, as `dgmjax.as_density`; one that is made of posteriors stays."""
    return prior if isinstance(prior, PosteriorMixturePrior) else as_density(prior)


def prior_of(model: Any) -> Density:
    """The prior of ``model`` as a density; one that is made of posteriors gets the model's."""
    if isinstance(model.prior, PosteriorMixturePrior):
        return model.prior.given(model.encode_scaled, model.encode, model.posterior)
    return model.prior


def prior_with_data_init(prior: Density | PosteriorMixturePrior, x: jax.Array, z: jax.Array) -> Any:
    """Pseudo-inputs from the data ``x``, layers of a flow from their codes ``z``."""
    return prior.with_data_init(x if isinstance(prior, PosteriorMixturePrior) else z)


def with_densities(model: Any, prior: Density, likelihood: Any) -> Any:
    """``model`` with another prior and likelihood; a prior that is made of posteriors stays."""
    new = nnx.clone(model)
    if not isinstance(model.prior, PosteriorMixturePrior):
        new.prior = prior
    new.likelihood = likelihood
    return new


def log_prob_and_update(density: Any, *args: Any, **options: Any) -> tuple[jax.Array, Any]:
    """The log-density as in training, and the density with new running statistics."""
    return density.log_prob_and_update(*args, **options)


def log_prob_as_it_is(density: Any, *args: Any, **options: Any) -> tuple[jax.Array, Any]:
    """The log-density with running statistics, and the same density."""
    return density.log_prob(*args, **options), density


class LatentVariableModel(Density):
    """``p(x) = int p(x | z) p(z) dz`` with a posterior ``q(z | x)``: `encode` and `terms` make the rest.

    ``log_prob`` is a lower bound, so wherever a flow goes, `dgmjax.fit` and the evaluation, such a model goes too.
    """

    def encode(self, x: jax.Array, *, key: jax.Array | None = None) -> Any:
        """What `terms` needs of the data and is the same for every sample: features, a pytree of ``[*batch, ...]``.

        Args:
          x: events as the user has them.
          key: switches dropout on.
        """
        raise NotImplementedError

    def terms(
        self, x: jax.Array, features: Any, *, seed: jax.Array, key: jax.Array | None = None
    ) -> ELBOTerms:
        """One sample of the posterior and its log-densities, given what `encode` returned."""
        raise NotImplementedError

    def terms_and_update(
        self, x: jax.Array, features: Any, *, seed: jax.Array, key: jax.Array | None = None
    ) -> tuple[ELBOTerms, Self]:
        """`terms` as in training, and the model with new running statistics: itself, where there are none."""
        return self.terms(x, features, seed=seed, key=key), self

    @compiled
    def elbo_terms(
        self, x: jax.Array, *, seed: jax.Array, key: jax.Array | None = None
    ) -> ELBOTerms:
        """The terms of the bound for one sample of the posterior; see `dgmjax.objectives.elbo`.

        Args:
          x: events ``[*batch, *event]``.
          seed: of the sample; one key, or one an example.
          key: switches dropout on.

        Raises:
          TypeError: integers where floats are needed, or the reverse.
          ValueError: wrong event shape.
        """
        self._check(x, "elbo_terms")
        encoder_key, decoder_key = (None, None) if key is None else prng.split(key)
        return self.terms(x, self.encode(x, key=encoder_key), seed=seed, key=decoder_key)

    def elbo_terms_and_update(
        self, x: jax.Array, *, seed: jax.Array, key: jax.Array | None = None
    ) -> tuple[ELBOTerms, Self]:
        """`elbo_terms` as in training, and the new model: batch statistics in use and accumulated.

        They are those of densities that a code or an event goes through towards their base: a flow as prior, and as the
        model of a `dgmjax.likelihoods.ConditionalModel`.
        """
        self._check(x, "elbo_terms_and_update")
        encoder_key, decoder_key = (None, None) if key is None else prng.split(key)
        features = self.encode(x, key=encoder_key)
        return self.terms_and_update(x, features, seed=seed, key=decoder_key)

    @compiled
    def log_prob_and_update(
        self, value: jax.Array, *, seed: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The ELBO of one sample as in training, and the new model, see `elbo_terms_and_update`."""
        terms, new = self.elbo_terms_and_update(value, seed=seed, key=key)
        return terms.elbo, new

    def bound(self, num_samples: int = 1) -> Bound:
        """What `log_prob` with ``num_samples`` returns: the ELBO, or the importance-weighted bound."""
        return Bound("lower bound", num_samples, "variational posterior")

    @compiled
    def log_prob(
        self,
        value: jax.Array,
        *,
        seed: jax.Array,
        num_samples: int = 1,
        batch_size: int = 1,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Lower bound on ``log p(x)`` in nats: ``[*batch, *event] -> [*batch]``.

        Args:
          value: events: integers for a discrete likelihood, floats for a continuous one.
          seed: key of the samples of the posterior; one, or one an example.
          num_samples: ``K``; 1 is the ELBO, with the divergence in closed form where there is one, more the
            importance-weighted bound, which tightens with ``K``.
          batch_size: samples at a time, see `dgmjax.numerics.log_mean_weight`.
          key: switches dropout on; leave it out to evaluate.

        Raises:
          TypeError: integers where floats are needed, or the reverse.
          ValueError: wrong event shape.
        """
        self._check(value, "log_prob")
        if num_samples == 1:
            return self.elbo_terms(value, seed=seed, key=key).elbo
        encoder_key, decoder_key = (None, None) if key is None else prng.split(key)
        features = self.encode(value, key=encoder_key)
        return log_mean_weight(
            lambda seed: self.terms(value, features, seed=seed, key=decoder_key).log_weight,
            seed,
            num_samples,
            batch_size=batch_size,
        )

    @compiled
    def scaled(self, x: jax.Array) -> jax.Array:
        """Events as networks take them: levels in [-1, 1], floats as they are."""
        if self.num_levels is None:
            return x
        return rescaled(x.astype(floating_dtype(self)), self.num_levels)

    def _check(self, x: jax.Array, name: str) -> None:
        check = check_float_event if self.num_levels is None else check_integer_event
        check(x, self.event_shape, where=f"{type(self).__name__}.{name}")


class PriorAndLikelihoodModel(LatentVariableModel):
    """A model with the attributes ``prior`` and ``likelihood``, whose running statistics go with it in training.

    A subclass implements ``_terms(evaluate, x, features, seed, key) -> (ELBOTerms, prior, likelihood)``, where
    ``evaluate(density, value, ...)`` gives the log-density and the density to go on with.
    """

    prior: Any
    likelihood: Any

    def prior_distribution(self) -> Any:
        """The prior with ``log_prob`` and ``sample``; one that is made of posteriors gets this model's."""
        return prior_of(self)

    @compiled
    def terms(
        self, x: jax.Array, features: jax.Array, *, seed: jax.Array, key: jax.Array | None = None
    ) -> ELBOTerms:
        """One sample of the posterior, its log-densities, and the divergences in closed form where there is one."""
        return self._terms(log_prob_as_it_is, x, features, seed, key)[0]

    def terms_and_update(
        self, x: jax.Array, features: jax.Array, *, seed: jax.Array, key: jax.Array | None = None
    ) -> tuple[ELBOTerms, Self]:
        """`terms` as in training, and the model with the new prior and likelihood."""
        terms, prior, likelihood = self._terms(log_prob_and_update, x, features, seed, key)
        return terms, with_densities(self, prior, likelihood)

    def _terms(
        self,
        evaluate: Evaluate,
        x: jax.Array,
        features: jax.Array,
        seed: jax.Array,
        key: jax.Array | None,
    ) -> tuple[ELBOTerms, Any, Any]:
        raise NotImplementedError
