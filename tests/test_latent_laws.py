"""The laws of models with latents: their terms from their parts, layer by layer, in both directions."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors import squeeze, unsqueeze
from dgmjax.models import iaf_ladder
from dgmjax.models.iaf_ladder import LadderLayer
from dgmjax.testing import scramble
from tests.models import MODELS
from tests.test_model_laws import inputs, made, rows_of

pytestmark = pytest.mark.usefixtures("x32")
close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)
# Of the others the layers are taken apart below.
PARTED = [
    name for name, row in MODELS.items() if row.kind == "latent" and not name.startswith("IAF")
]


@jax.jit
def of_parts(model, x, seeds):
    """The terms, and likelihood, prior and posterior of the same latents, each by its own density."""
    features = model.encode(x)
    terms = model.terms(x, features, seed=seeds)
    if isinstance(model, dgm.HierarchicalVAE):
        latents, _, below = model.sample_posterior(x, features, seed=seeds)
        z1, z2 = latents
        log_prior = model.lower.log_prob(z1, model.lower_prior(z2))
        log_posterior = model.lower.log_prob(z1, below)
    else:
        latents = (z2,) = (model.posterior.sample(features, seed=seeds),)
        log_prior = log_posterior = 0.0
    log_prior += model.prior_distribution().log_prob(z2)
    log_posterior += model.posterior.log_prob(z2, features)
    return terms, (model.likelihood.log_prob(x, model.decode(*latents)), log_prior, log_posterior)


@pytest.mark.parametrize("name", PARTED)
def test_the_terms_are_those_of_the_parts(name):
    x, seeds, _ = inputs(name)
    terms, parts = jax.device_get(of_parts(made(name), x, seeds))
    close(terms.log_likelihood, parts[0])
    close(terms.log_prior, parts[1])
    close(terms.log_posterior, parts[2])
    if not made(name).prior_is_standard:
        close(terms.kl.sum(-1), parts[2] - parts[1])


def divergence(q, p):
    """Divergence of normal distributions, each its mean and log-scale, by distrax."""
    q, p = (distrax.Normal(mean, jnp.exp(log_std)) for mean, log_std in (q, p))
    return q.kl_divergence(p)


def test_divergences_in_closed_form():
    zeros = jnp.zeros((3, 2), jnp.float32)
    for name in ("VAE", "HierarchicalVAE"):
        model, (x, seeds, _) = made(name), inputs(name)
        terms = model.elbo_terms(x, seed=seeds)
        q2 = model.posterior.moments(model.encode(x))
        expected = divergence(q2, (zeros, zeros))
        if name == "HierarchicalVAE":
            (_, z2), _, below = model.sample_posterior(x, model.encode(x), seed=seeds)
            lower = model.lower.moments(below), model.lower.moments(model.lower_prior(z2))
            expected = jnp.concatenate([divergence(*lower), expected], -1)
        close(terms.kl, expected)


@jax.jit
def many(model, x, seeds):
    features = model.encode(x)

    def weights(number):
        own = jax.vmap(jax.random.fold_in, (0, None))(seeds, number)
        return model.terms(x, features, seed=own).log_weight

    estimate = model.log_prob(x, seed=seeds, num_samples=3, batch_size=2)
    return estimate, jax.lax.map(weights, jnp.arange(3))


@rows_of("latent")
def test_the_estimate_of_many_samples_is_the_mean_of_their_weights(name):
    x, seeds, _ = inputs(name)
    estimate, weights = jax.device_get(many(made(name), x, seeds))
    assert (weights.std(0) > 1e-3).all()
    close(estimate, np.logaddexp.reduce(weights, 0) - np.log(3.0))


class Bare(LadderLayer):
    """A layer that ends with its latents."""

    def _finish(self, x, z, deterministic):
        del x, deterministic
        return z


@pytest.mark.parametrize("iaf_depth", [0, 2])
def test_densities_of_a_ladder_layer_are_those_of_its_draws(iaf_depth, monkeypatch):
    """Posterior, prior and divergence against the map from noise to latents; the seed is the noise."""
    monkeypatch.setattr(iaf_ladder, "_noise", lambda seed, like: seed)
    layer = Bare(4, 2, iaf_depth=iaf_depth, rngs=nnx.Rngs(0))
    layer = scramble(layer, jax.random.key(0), scale=0.4)
    random = np.random.default_rng(0)
    x, data = random.normal(size=(2, 2, 3, 4)).astype(np.float32)
    noise = random.normal(size=(2, 3, 2)).astype(np.float32)

    @jax.jit
    def facts(layer, x, data, noise):
        _, features = layer.up(data)
        z, terms = layer.infer(x, features, seed=noise)
        jacobian = jax.jacfwd(lambda noise: layer.infer(x, features, seed=noise)[0])(noise)
        drawn = [layer.generate(x, seed=noise, temperature=t) for t in (0.0, 1.0, 0.25)]
        return z, terms, layer.centre(x, features)[1], jacobian.reshape(12, 12), drawn

    z, terms, centre, jacobian, (cold, warm, between) = jax.device_get(facts(layer, x, data, noise))
    log_noise = jax.scipy.stats.norm.logpdf(noise).sum()
    log_det = np.linalg.slogdet(jacobian)[1]
    assert abs(log_det) > 0.5
    close(terms.log_posterior, log_noise - log_det)
    std = (warm - cold) / noise
    assert np.abs(np.log(std)).max() > 0.3
    assert np.abs(cold).max() > 0.3
    close(between - cold, 0.25 * (warm - cold))
    close(terms.log_prior, jax.scipy.stats.norm.logpdf(z, cold, std).sum())
    if iaf_depth:
        close(terms.kl.sum(), terms.log_posterior - terms.log_prior)
        assert np.abs(jacobian - np.diag(np.diag(jacobian))).max() > 1e-3
    else:
        q = (centre, np.log((z - centre) / noise))
        close(terms.kl, divergence(q, (cold, np.log(std))).sum((0, 1)))


@jax.jit
def ladder_by_hand(model, x, seed):
    """Up through the layers one after the other, from the finest; down in the reverse order, to two ends."""
    split = [jax.tree.map(lambda a, i=i: a[i], level) for level in model.ladder for i in range(2)]
    rising, features = model.first(model.scaled(x)), {}
    for number, layer in enumerate(split):
        if number == 2:
            rising = model.shrink[0](squeeze(jax.nn.elu(rising), order="outer"))
        rising, features[number] = layer.up(rising)
    inferred = generated = jnp.broadcast_to(model.start[...], (*x.shape[:1], 2, 4, 4))
    divergences = {}
    for number in (3, 2, 1, 0):
        layer, own = split[number], jax.random.fold_in(seed, number)
        inferred, terms = layer.infer(inferred, features[number], seed=own)
        generated = layer.generate(generated, seed=own, temperature=0.5)
        divergences[number] = terms.kl
        if number == 2:
            inferred, generated = (
                unsqueeze(model.grow[0](jax.nn.elu(end)), order="outer")
                for end in (inferred, generated)
            )
    outputs = [model.last(jax.nn.elu(end))[..., 0] for end in (inferred, generated)]
    return *outputs, jnp.concatenate([divergences[number] for number in range(4)], -1)


def test_a_ladder_is_climbed_from_the_finest_layer_and_descended_from_the_coarsest():
    model, (x, _, _), seed = made("IAFVAE"), inputs("IAFVAE"), jax.random.key(6)
    inferred, generated, kl = ladder_by_hand(model, x, seed)
    terms = model.elbo_terms(x, seed=seed)
    close(terms.kl, kl)
    shape = model.likelihood.output_shape
    likelihood = model.likelihood.log_prob(x, inferred.reshape(-1, *shape))
    close(terms.log_likelihood, likelihood, rtol=1e-3)
    close(model.sample_outputs(seed, 3, 0.5), generated.reshape(-1, *shape))


def test_temperature_zero_is_the_middle_of_the_ladder():
    model = made("IAFVAE")
    outputs = model.sample_outputs(jax.random.key(0), 2, 0.0)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    cold, warm = (
        model.sample(seed=jax.random.key(1), sample_shape=2, temperature=t) for t in (0.0, 1.0)
    )
    _, pixels = jax.random.split(jax.random.key(1))
    np.testing.assert_array_equal(cold, model.likelihood.sample(outputs, seed=pixels))
    assert (cold != warm).any()


def test_temperature_scales_both_layers_of_a_hierarchy_about_the_means_of_their_priors():
    model = made("HierarchicalVAE")

    @jax.jit
    def draws(model, temperature):
        z1, z2 = model.sample_latents(jax.random.key(0), 4, temperature)
        mean, log_std = model.lower.moments(model.lower_prior(z2))
        return z2, (z1 - mean) * jnp.exp(-log_std), mean

    z2, noise, mean = draws(model, 1.0)
    assert np.abs(mean).max() > 0.1
    assert np.ptp(mean, axis=0).max() > 1e-3
    assert 0.3 < noise.std() < 3.0
    for temperature in (0.25, 0.0):
        colder = draws(model, temperature)
        close(colder[0], temperature * z2)
        close(colder[1], temperature * noise)


def test_the_coldest_sample_of_a_hierarchy_is_the_code_of_its_means():
    likelihood = dgm.likelihoods.Gaussian((6,), scale=1e-6)
    options = {"latent_dims": (3, 2), "likelihood": likelihood, "width": 4, "depth": 1}
    model = scramble(dgm.HierarchicalVAE((6,), **options, rngs=nnx.Rngs(0)), jax.random.key(1))
    zeros = jnp.zeros(2, jnp.float32)
    code = jnp.concatenate([model.lower.centre(model.lower_prior(zeros)), zeros])
    cold = model.sample(seed=jax.random.key(2), sample_shape=3, temperature=0.0)
    close(cold, np.broadcast_to(model.from_code(code), cold.shape))
    assert np.abs(code[:3]).max() > 0.1
    warm = model.sample(seed=jax.random.key(2), sample_shape=3)
    assert np.abs(warm - cold).max() > 1e-3


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_levels_reach_networks_between_minus_one_and_one(levels):
    options = {"num_levels": levels, "width": 4, "rngs": nnx.Rngs(0)}
    models = [
        dgm.VAE((3,), likelihood="categorical", **options),
        dgm.SparseAutoencoder((3,), 2, **options),
        dgm.GAN((3,), num_levels=levels, rngs=nnx.Rngs(0)),
    ]
    ends = np.array([0, (levels - 1) // 2, levels - 1])
    for model in models:
        scaled = np.asarray(model.scaled(ends))
        np.testing.assert_allclose(scaled, 2.0 * ends / (levels - 1) - 1.0, atol=1e-6)
    np.testing.assert_array_equal(models[-1].unscaled(scaled), ends)
