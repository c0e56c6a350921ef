"""Priors: densities of latents, and the two that need the encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.densities.normal import normal_log_prob
from dgmjax.distributions.posteriors import DiagonalGaussian
from dgmjax.distributions.priors import AggregatedPosterior, GaussianMixture, VampPrior
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.models import FlowPrior
from dgmjax.testing import cast, check_density, scramble

LEVELS = 5
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)


class Encoder(nnx.Module):
    """A toy: two features of a 2 x 3 image, as mean and log-scale of two latents."""

    def __init__(self):
        self.kernel = nnx.Param(0.4 * jax.random.normal(jax.random.key(0), (6, 4), jnp.float64))

    def scaled(self, x):
        return jnp.sin(x.reshape(*x.shape[:-2], 6) @ self.kernel[...])

    def __call__(self, x):
        return self.scaled(2.0 * x.astype(jnp.float64) / (LEVELS - 1) - 1.0)


def digits(count: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, LEVELS, (count, 2, 3)).astype(np.uint8)


def vamp(num_components: int = 5, **options) -> VampPrior:
    return cast(VampPrior((2, 3), num_components, rngs=nnx.Rngs(1), **options), jnp.float64)


def given(prior):
    encoder = Encoder()
    return prior.given(encoder.scaled, encoder, DiagonalGaussian(2))


def mixture(num_components: int = 3) -> GaussianMixture:
    made = GaussianMixture(2, num_components, rngs=nnx.Rngs(0))
    return cast(scramble(made, jax.random.key(1), scale=0.5), jnp.float64)


def realnvp() -> dgm.RealNVP:
    made = FlowPrior(2, depth=3, width=8, rngs=nnx.Rngs(0))
    return cast(scramble(made, jax.random.key(1)), jnp.float64)


PRIORS = {
    "mixture": mixture,
    "realnvp": realnvp,
    "vamp": lambda: given(vamp()),
    "aggregated": lambda: given(AggregatedPosterior(digits(20))),
}


def integral(prior, where=lambda z: z[..., 0] < np.inf, count: int = 300) -> float:
    """Of the density over the points of a square that satisfy ``where``."""
    width = 16.0
    axis = (np.arange(count) + 0.5) * (2 * width / count) - width
    points = np.stack(np.meshgrid(axis, axis), -1)
    log_prob = jax.jit(lambda prior: prior.log_prob(jnp.asarray(points)))(prior)
    return float(np.exp(log_prob)[where(points)].sum() * (2 * width / count) ** 2)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_integrates_to_one(name):
    close(integral(PRIORS[name]()), 1.0, rtol=1e-4)


@pytest.mark.parametrize("name", ["mixture", "vamp"])
def test_a_prior_is_a_distribution_whose_samples_follow_its_density(name):
    check_density(PRIORS[name](), seed=jax.random.key(2))


def test_a_log_sum_exp_over_each_dimension_is_another_density():
    """As in a public notebook: it integrates to one, with the same marginals; its corners give it away."""
    right = mixture(2)
    right.means[...] = jnp.asarray([[3.0, 3.0], [-3.0, -3.0]])
    right.log_scales[...] = jnp.zeros((2, 2))

    class Wrong(nnx.Module):
        def log_prob(self, z):
            parts = normal_log_prob(z[..., None, :], right.means[...], right.log_scales[...])
            weights = jax.nn.log_softmax(right.logits[...])[:, None]
            return jax.nn.logsumexp(jnp.broadcast_to(weights, parts.shape) + parts, -2).sum(-1)

    def corner(z):
        return (z[..., 0] > 0) & (z[..., 1] < 0)

    share = corner(np.asarray(right.sample(seed=jax.random.key(3), sample_shape=2000))).mean()
    close(integral(Wrong()), 1.0, rtol=1e-4)
    assert abs(integral(right, corner) - share) < 0.01
    assert abs(integral(Wrong(), corner) - share) > 0.1


def test_a_log_determinant_counted_for_every_dimension_is_no_density():
    """As in a public notebook, which adds it before the sum over the latents."""
    right = realnvp()

    class Wrong(nnx.Module):
        def log_prob(self, z):
            base, log_det = right.bijector.inverse_and_log_det(z)
            elements = jax.scipy.stats.norm.logpdf(base)
            return (elements + jnp.broadcast_to(log_det[..., None], elements.shape)).sum(-1)

    assert abs(integral(Wrong()) - 1.0) > 0.02


def test_a_mixture_is_that_of_its_parameters():
    prior = mixture()
    prior.logits[...] = jnp.asarray([0.0, 1.0, -1.0])
    z = jnp.asarray([0.3, -0.8])
    weights = np.exp([0.0, 1.0, -1.0]) / np.exp([0.0, 1.0, -1.0]).sum()
    scale = np.exp(prior.log_scales[...])
    noise = (np.asarray(z) - np.asarray(prior.means[...])) / scale
    dense = np.exp(-0.5 * noise**2) / scale / np.sqrt(2 * np.pi)
    close(prior.log_prob(z), np.log((weights * dense.prod(-1)).sum()))
    keys = jax.random.split(jax.random.key(3), 4)
    close(prior.sample(seed=keys, sample_shape=4)[1], prior.sample(seed=keys[1]))


@pytest.mark.parametrize("name", ["mixture", "realnvp"])
def test_gradients_reach_every_parameter(name):
    prior = PRIORS[name]()
    z = jax.random.normal(jax.random.key(4), (6, 2))
    bars = jax.jit(jax.grad(lambda prior: (prior.log_prob(z) ** 2).sum()))(prior)
    params = dgm.training.partition(bars)[0]
    assert params
    for name, bar in params.items():
        assert np.isfinite(bar).all(), name
        assert np.any(bar != 0), name


def test_pseudo_inputs_learn_through_the_encoder_and_the_encoder_through_them():
    prior, encoder = vamp(), Encoder()
    z = jax.random.normal(jax.random.key(5), (6, 2))

    def loss(prior, encoder):
        return prior.given(encoder.scaled, encoder, DiagonalGaussian(2)).log_prob(z).sum()

    prior_bar, encoder_bar = jax.jit(jax.grad(loss, argnums=(0, 1)))(prior, encoder)
    assert np.all(prior_bar.raw[...] != 0)
    assert np.all(encoder_bar.kernel[...] != 0)
    exact = DiagonalGaussian(2).log_prob(z[:, None], encoder.scaled(prior.pseudo_inputs))
    close(given(prior).log_prob(z), jax.nn.logsumexp(exact, -1) - np.log(5))


def test_pseudo_inputs_stay_in_the_scale_of_the_encoder_and_start_from_data():
    noise = np.asarray(vamp(200).pseudo_inputs)
    assert noise.shape == (200, 2, 3)
    assert np.abs(noise).max() < 1
    assert noise.std() > 0.2
    images = digits(5)
    scaled = np.clip(2.0 * images / (LEVELS - 1) - 1.0, -0.95, 0.95)
    from_init = vamp(num_levels=LEVELS, init=images)
    close(from_init.pseudo_inputs, scaled, atol=1e-6)
    again = vamp(num_levels=LEVELS).with_data_init(digits(9))
    close(
        again.pseudo_inputs,
        np.clip(2.0 * digits(9)[:5] / (LEVELS - 1) - 1.0, -0.95, 0.95),
        atol=1e-6,
    )
    close(vamp(init=0.5 * np.ones((5, 2, 3))).pseudo_inputs, 0.5, atol=1e-6)
    record_of(from_init)


def test_a_prior_started_from_many_images_can_be_saved():
    """The pseudo-inputs are parameters, so the record needs no data."""
    prior = VampPrior((100, 30), 50, rngs=nnx.Rngs(0)).with_data_init(np.zeros((50, 100, 30)))
    again = build(record_of(prior), rngs=nnx.Rngs(0))
    assert jax.tree.structure(again) == jax.tree.structure(prior)


@pytest.mark.parametrize("batch_size", [7, 20, 100])
def test_the_aggregated_posterior_does_not_depend_on_its_batches(batch_size):
    data, z = digits(20), jax.random.normal(jax.random.key(6), (3, 2))
    features = Encoder()(jnp.asarray(data))
    exact = jax.nn.logsumexp(DiagonalGaussian(2).log_prob(z[:, None], features), -1) - np.log(20)
    close(
        given(AggregatedPosterior(data, batch_size=batch_size)).log_prob(z, batch_size=batch_size),
        exact,
    )


def test_the_data_of_an_aggregated_posterior_are_no_parameters():
    params, fixed, _ = dgm.training.partition(AggregatedPosterior(digits(4)))
    assert not params
    assert [value.dtype for value in fixed.values()] == [jnp.dtype(jnp.uint8)]


def test_of_all_priors_the_aggregated_posterior_has_the_least_cross_entropy():
    """Mean over the data of ``E_q log p(z)``: no other prior of the table comes above it."""
    data = digits(20)
    best = given(AggregatedPosterior(data))
    z = best.sample(seed=jax.random.key(7), sample_shape=(5000,))
    log_prob = jax.jit(lambda prior: prior.log_prob(z))
    for name in ("mixture", "vamp"):
        difference = np.asarray(log_prob(best) - log_prob(PRIORS[name]()))
        assert difference.mean() > 4 * difference.std() / np.sqrt(len(z)), name


def test_fresh_flow_priors_are_standard_normal():
    z = jax.random.normal(jax.random.key(8), (4, 3), jnp.float32)
    for kind, cls in (("realnvp", dgm.RealNVP), ("maf", dgm.MAF)):
        prior = FlowPrior(3, kind, depth=2, width=8, rngs=nnx.Rngs(0))
        assert type(prior) is cls
        expected = jax.scipy.stats.norm.logpdf(z).sum(-1)
        np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-5)


def test_errors_say_what_fits():
    with pytest.raises(ValueError, match="realnvp"):
        FlowPrior(2, "glow", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_components"):
        GaussianMixture(2, 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_components"):
        VampPrior((2, 3), 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_levels"):
        VampPrior((2, 3), 5, init=digits(5), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="shape"):
        VampPrior((2, 3), 5, num_levels=LEVELS, init=digits(4), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="n >= 1"):
        AggregatedPosterior(digits(0))
    with pytest.raises(ValueError, match="event"):
        mixture().log_prob(jnp.zeros((4, 3)))
