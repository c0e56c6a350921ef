"""Objectives of models whose terms can be written down, against values worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.densities import Bound
from dgmjax.numerics import log_mean_weight
from dgmjax.objectives import (
    ELBOTerms,
    NegativeELBO,
    elbo,
    iwae,
    maximum_likelihood,
    negative_log_likelihood,
    reverse_kl,
)
from dgmjax.objectives.reconstruction import Reconstruction

KEY = jax.random.key(0)
LOG_PROBS = (1.0, 2.0, 3.0, 6.0)


class Fixed(nnx.Module):
    """Log-likelihoods of events (2, 2): their first entries, and the first of a context if there is one."""

    event_shape = (2, 2)
    context_shape = (1,)

    def bound(self, num_samples: int) -> Bound:
        return dgm.Dequantized(dgm.Flow(dgm.DiagonalLinear((2,))), 3).bound(num_samples)

    def log_prob(self, x, context=None, *, seed, num_samples=1):
        del seed
        more = 0.0 if context is None else context[..., 0]
        return x[..., 0, 0].astype(float) + more + 100.0 * (num_samples - 1)


def events(values=LOG_PROBS) -> jax.Array:
    return jnp.zeros((len(values), 2, 2)).at[:, 0, 0].set(jnp.asarray(values))


def test_the_standard_error_divides_by_the_root_of_n():
    """Log-probabilities 1, 2, 3 and 6 have the mean 3 and the variance 14 / 4."""
    found = dgm.log_likelihood(Fixed(), events(), seed=KEY)
    assert found.event_size == 4
    np.testing.assert_allclose(found.standard_error, math.sqrt(3.5) / 2, rtol=1e-12)
    np.testing.assert_allclose(found.negative_log_likelihood, -3.0, rtol=1e-12)
    assert found.mean_log_likelihood == -found.negative_log_likelihood
    # Densities, of floats, have no bits/dim.
    assert found.bits_per_dim is None
    assert str(found).startswith("log-likelihood 3.00 +- 0.94 nats, one-sample bound")
    integers = dgm.log_likelihood(Fixed(), events([1.0, 2.0, 3.0, 6.0]).astype(int), seed=KEY)
    np.testing.assert_allclose(integers.bits_per_dim, -3.0 / (4 * math.log(2)), rtol=1e-12)
    assert str(integers).startswith(
        "log-likelihood 3.00 +- 0.94 nats (-1.082 bits/dim), one-sample"
    )
    many = dgm.log_likelihood(Fixed(), events(), seed=KEY, num_samples=3)
    np.testing.assert_allclose(many.negative_log_likelihood, -203.0, rtol=1e-12)
    assert "K=3" in str(many)


@pytest.mark.parametrize("loss", [maximum_likelihood, negative_log_likelihood])
def test_the_losses_of_likelihoods_are_means_with_their_counts(loss):
    context = jnp.asarray([[1.0], [0.0], [0.0], [3.0]])
    for more, mean in (({}, 3.0), ({"context": context}, 4.0)):
        value, metrics = loss(Fixed(), {"x": events()} | more, jax.random.split(KEY, 4))
        np.testing.assert_allclose(value, -mean, rtol=1e-12)
        np.testing.assert_allclose(metrics["nats"], (-4 * mean, 4), rtol=1e-12)
        assert set(metrics) == {"nats"}
    integers = {"x": events([1.0, 2.0, 3.0, 6.0]).astype(int)}
    _, metrics = loss(Fixed(), integers, jax.random.split(KEY, 4))
    # The total of 12 nats over events of 4 elements.
    np.testing.assert_allclose(metrics["bits_per_dim"], (-12 / (4 * math.log(2)), 4), rtol=1e-12)


def test_importance_weights_are_averaged_and_not_their_logarithms():
    def log_weight(key):
        return 3.0 * jax.random.normal(key, (2,))

    logs = np.stack([log_weight(jax.random.fold_in(KEY, k)) for k in range(5)])
    expected = np.log(np.exp(logs).mean(0))
    for at_once in (1, 2, 5, 9):
        found = log_mean_weight(log_weight, KEY, 5, batch_size=at_once)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (expected > logs.mean(0) + 0.5).all()
    np.testing.assert_array_equal(log_mean_weight(log_weight, KEY, 1), log_weight(KEY))


class Latent(nnx.Module):
    """Two groups of latents with divergences that depend on the row, and a likelihood with noise of the sample."""

    event_shape = (3,)

    def elbo_terms(self, x, *, seed, key=None):
        del key
        x = x.astype(float)
        noise = jax.random.normal(seed, x.shape[:-1]) if seed.ndim == 0 else jnp.zeros(len(seed))
        likelihood = -x[..., 0] + noise
        prior, posterior = -x[..., 1], -x[..., 2]
        return ELBOTerms(likelihood, prior, posterior, x[..., 1:])

    def log_prob(self, x, *, seed, num_samples=1, batch_size=1):
        def one(key):
            return self.elbo_terms(x, seed=key).log_weight

        return log_mean_weight(one, seed, num_samples, batch_size=batch_size)


# Rows of minus the log-likelihood, and of the divergences of two groups, whose means are 2 and 3.
TERMS = jnp.asarray([[10.0, 1.0, 5.0], [20.0, 3.0, 1.0]])


def test_a_bound_is_the_likelihood_minus_the_sum_of_the_divergences():
    terms = Latent().elbo_terms(TERMS, seed=jax.random.split(KEY, 2))
    np.testing.assert_allclose(terms.elbo, [-16.0, -24.0])
    np.testing.assert_allclose(terms.log_weight, [-10 - 1 + 5, -20 - 3 + 1])
    noise = np.stack([jax.random.normal(jax.random.fold_in(KEY, k), (2,)) for k in range(6)])
    found = elbo(Latent(), TERMS, KEY, num_samples=6)
    np.testing.assert_allclose(found, np.asarray([-16.0, -24.0]) + noise.mean(0), rtol=1e-9)
    found = iwae(Latent(), TERMS, KEY, num_samples=6, batch_size=2)
    expected = np.asarray([-6.0, -22.0]) + np.log(np.exp(noise).mean(0))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


LOSSES = {
    "plain": ({}, None, 15 + 5),
    "beta": ({"beta": 3.0}, None, 15 + 15),
    "free bits by group, of the mean over the batch": ({"free_bits": 2.5}, None, 15 + 2.5 + 3),
    "free bits and beta": ({"free_bits": 2.5, "beta": 2.0}, None, 15 + 11),
    "a warm-up begins at 0": ({"warmup_steps": 10, "beta": 2.0}, 0, 15),
    "rises linearly": ({"warmup_steps": 10, "beta": 2.0}, 3, 15 + 3),
    "ends at beta": ({"warmup_steps": 10, "beta": 2.0}, 10, 15 + 10),
    "and stays there": ({"warmup_steps": 10, "beta": 2.0}, 25, 15 + 10),
    "without a step there is none": ({"warmup_steps": 10}, None, 15 + 5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_negative_elbo(name):
    options, step, expected = LOSSES[name]
    more = {} if step is None else {"step": jnp.asarray(step)}
    keys = jax.random.split(KEY, 2)
    value, metrics = NegativeELBO(**options)(Latent(), {"x": TERMS}, keys, **more)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    # The metrics are those of the bound itself.
    expected = {"nats": 40, "reconstruction": 30, "kl": 10}
    assert set(metrics) == set(expected)
    for key, total in expected.items():
        np.testing.assert_allclose(metrics[key], (total, 2), rtol=1e-12)
    integers = {"x": TERMS.astype(int)}
    _, metrics = NegativeELBO(**options)(Latent(), integers, keys, **more)
    np.testing.assert_allclose(metrics["bits_per_dim"], (40 / (3 * math.log(2)), 2), rtol=1e-12)


def test_the_reverse_divergence_is_that_of_the_model_from_the_density():
    """Samples ``x = s e`` of N(0, s^2) and the density exp(-x^2): the gradient goes through them."""

    class Scaled(nnx.Module):
        def __init__(self, scale):
            self.scale = nnx.Param(jnp.asarray(scale))

        def sample_and_log_prob(self, *, seed, sample_shape):
            e, s = jax.random.normal(seed, sample_shape), self.scale[...]
            return s * e, -0.5 * e**2 - jnp.log(s) - 0.5 * math.log(2 * math.pi)

    loss = reverse_kl(lambda x: -(x**2), num_samples=50)
    e = np.asarray(jax.random.normal(KEY, (50,)))
    for keys in (KEY, jnp.stack([KEY, jax.random.key(5)])):
        value, metrics = loss(Scaled(1.5), {}, keys)
        rows = -0.5 * e**2 - math.log(1.5) - 0.5 * math.log(2 * math.pi) + (1.5 * e) ** 2
        np.testing.assert_allclose(value, rows.mean(), rtol=1e-9)
        np.testing.assert_allclose(metrics["reverse_kl"], (rows.sum(), 50), rtol=1e-9)
        np.testing.assert_allclose(metrics["log_z_bound"], (-rows.sum(), 50), rtol=1e-9)
    slope = jax.grad(lambda s: loss(Scaled(s), {}, KEY)[0])(1.5)
    np.testing.assert_allclose(slope, -1 / 1.5 + 2 * 1.5 * (e**2).mean(), rtol=1e-9)


def test_the_loss_of_an_autoencoder_is_a_mean_over_events_of_sums():
    """Differences (1, 2) and (3, 0), codes (1, 0, -2) and (0, 0, 4)."""

    keys = []

    class Halves(nnx.Module):
        event_shape = (2,)

        def encode(self, x, *, key):
            keys.append(key)
            return jnp.asarray([[1.0, 0.0, -2.0], [0.0, 0.0, 4.0]])

        def decode(self, code, *, key=None):
            keys.append(key)
            return jnp.asarray([[1.0, 2.0], [3.0, 0.0]])

        def scaled(self, x):
            return 0.0 * x

    value, metrics = Reconstruction(l1=0.5)(Halves(), {"x": jnp.ones((2, 2))}, KEY)
    np.testing.assert_allclose(value, (5 + 9) / 2 + 0.5 * (3 + 4) / 2, rtol=1e-12)
    found = {name: tuple(map(float, pair)) for name, pair in metrics.items()}
    assert found == {"squared_error": (14.0, 2.0), "l1": (7.0, 2.0), "active": (3.0, 2.0)}
    encoder, decoder = (jax.random.key_data(key).tolist() for key in keys)  # of dropout
    assert encoder != decoder
