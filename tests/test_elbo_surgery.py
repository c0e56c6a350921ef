"""ELBO surgery against quadrature, its identities, and its extremes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.objectives import aggregated_posterior, elbo_surgery, hole_mass
from dgmjax.testing import scramble


class Table(nnx.Module):
    """An encoder that knows the features of every event: row ``x`` of a table."""

    def __init__(self, features):
        self.features = nnx.data(jnp.asarray(features))

    def __call__(self, x, *, key=None):
        del key
        index = jnp.round((x[..., 0] + 1.0) / 2.0 * (len(self.features) - 1)).astype(int)
        return self.features[index]


def model_of(features, *, latent_dim=1, prior=None):
    """A VAE of the events 0, ..., n - 1, whose i-th posterior has row i of ``features``."""
    model = dgm.VAE(
        (1,), latent_dim=latent_dim, likelihood="categorical", num_levels=len(features), prior=prior,
        width=8, depth=1, encoder=Table(features), rngs=nnx.Rngs(0),
    )  # fmt: skip
    return jax.tree.map(
        lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, model
    )


def rows(n):
    return np.arange(n)[:, None]


MEANS = np.array([-1.5, -0.2, 0.3, 2.0])
LOG_STDS = np.array([-0.5, 0.1, -1.0, 0.0])
FEATURES = np.stack([MEANS, LOG_STDS], -1)


def quadrature():
    """Mutual information and marginal divergence of the four 1-D posteriors, by the trapezoidal rule."""
    z = np.linspace(-12.0, 12.0, 200_001)
    stds = np.exp(7.0 * np.tanh(LOG_STDS / 7.0))  # the bounded map of DiagonalGaussian
    log_q = -0.5 * ((z - MEANS[:, None]) / stds[:, None]) ** 2 - np.log(stds)[:, None]
    log_q -= 0.5 * np.log(2 * np.pi)
    aggregate = np.exp(log_q).mean(0)
    log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    information = np.trapezoid(np.exp(log_q) * (log_q - np.log(aggregate + 1e-300)), z).mean()
    marginal = np.trapezoid(aggregate * (np.log(aggregate + 1e-300) - log_p), z)
    return information, marginal


def test_the_parts_agree_with_quadrature():
    many = np.tile(rows(4), (600, 1))  # each posterior 600 times: the same mixture, more codes
    model = scramble(model_of(FEATURES), jax.random.key(1), scale=1.0)
    found = elbo_surgery(model, many, jax.random.key(0))
    information, marginal = quadrature()
    errors = found.standard_errors
    assert abs(found.mutual_information - information) < 4 * errors["mutual_information"]
    assert abs(found.marginal_kl - marginal) < 4 * errors["marginal_kl"]
    assert errors["mutual_information"] < 0.04
    z = np.linspace(-8.0, 8.0, 801)
    stds = np.exp(7.0 * np.tanh(LOG_STDS / 7.0))
    values = [
        np.trapezoid(
            np.exp(-0.5 * ((z - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
            * np.asarray(model.log_likelihood(jnp.full((len(z), 1), row), jnp.asarray(z)[:, None])),
            z,
        )
        for row, (mean, std) in enumerate(zip(MEANS, stds, strict=True))
    ]  # fmt: skip
    assert abs(found.reconstruction - np.mean(values)) < 4 * errors["reconstruction"]
    assert errors["reconstruction"] < 0.1 * np.ptp(values)
    assert max(errors.values()) > 1.1 * min(errors.values()), "each has its own"


def test_the_identities_are_exact():
    found = elbo_surgery(model_of(FEATURES), rows(4), jax.random.key(0))
    parts = found.reconstruction - found.mutual_information - found.marginal_kl
    assert math.isclose(found.elbo, parts, rel_tol=1e-12)
    assert math.isclose(found.rate, found.cross_entropy - found.posterior_entropy, rel_tol=1e-9)
    assert "mutual information (at most 1.39)" in str(found)


def test_information_is_zero_for_equal_posteriors_and_log_n_for_distant_ones():
    """Row L7-27."""
    equal = elbo_surgery(model_of(np.zeros((8, 2))), rows(8), jax.random.key(0))
    assert abs(equal.mutual_information) < 1e-9
    distant = np.stack([50.0 * np.arange(8), np.zeros(8)], -1)
    apart = elbo_surgery(model_of(distant), rows(8), jax.random.key(0))
    assert abs(apart.mutual_information - math.log(8)) < 1e-6
    assert apart.log_n == math.log(8)
    few = elbo_surgery(model_of(distant), rows(8), jax.random.key(0), num_codes=3)
    assert abs(few.mutual_information - math.log(8)) < 1e-6, "the mixture has all rows"
    # Every row gives one code: the mean of z^2 / 2 is that of the means.
    energy = apart.cross_entropy - 0.5 * math.log(2 * math.pi)
    assert math.isclose(energy, np.mean((50.0 * np.arange(8)) ** 2) / 2, rel_tol=0.03)


def test_the_prior_is_in_the_marginal_divergence_only():
    """Row L7-28."""
    plain = elbo_surgery(model_of(FEATURES), rows(4), jax.random.key(1))
    prior = dgm.priors.GaussianMixture(1, 3, rngs=nnx.Rngs(0))
    other = elbo_surgery(model_of(FEATURES, prior=prior), rows(4), jax.random.key(1))
    assert plain.reconstruction == other.reconstruction
    assert plain.mutual_information == other.mutual_information
    assert plain.marginal_kl != other.marginal_kl


def test_the_aggregated_posterior_is_the_optimal_prior():
    """Row L7-29."""
    prior = dgm.priors.AggregatedPosterior(rows(4))
    found = elbo_surgery(model_of(FEATURES, prior=prior), rows(4), jax.random.key(0))
    assert abs(found.marginal_kl) < 1e-12


def test_chunks_and_subsets_change_nothing_but_what_they_should():
    model, data = model_of(FEATURES), np.tile(rows(4), (10, 1))
    whole = elbo_surgery(model, data, jax.random.key(0))
    parts = elbo_surgery(model, data, jax.random.key(0), batch_size=7)
    assert math.isclose(whole.elbo, parts.elbo, rel_tol=1e-12)
    some = elbo_surgery(model, data, jax.random.key(0), num_codes=9)
    assert (some.num_codes, some.log_n) == (9, math.log(40))
    with pytest.raises(ValueError, match="num_codes must be in 1 .. 40"):
        elbo_surgery(model, data, jax.random.key(0), num_codes=41)


def test_holes_of_the_prior():
    """Row D3-31: none where the prior is the aggregated posterior, much where it is wider."""
    prior = dgm.priors.AggregatedPosterior(rows(4))
    same = hole_mass(model_of(FEATURES, prior=prior), rows(4), jax.random.key(0), level=0.05)
    assert abs(same - 0.05) < 0.02
    assert abs(same - 0.05) > 1e-6, "codes and samples are draws of their own"
    narrow = np.stack([np.linspace(-0.5, 0.5, 4), np.full(4, -2.0)], -1)
    assert hole_mass(model_of(narrow), rows(4), jax.random.key(0), level=0.05) > 0.4


def test_the_aggregated_posterior_integrates_to_one():
    mixture = aggregated_posterior(model_of(FEATURES), rows(4))
    z = jnp.linspace(-12.0, 12.0, 20_001)[:, None]
    assert math.isclose(
        float(jnp.trapezoid(jnp.exp(mixture.log_prob(z)), z[:, 0])), 1.0, rel_tol=1e-6
    )
