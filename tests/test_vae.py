"""Variational autoencoders: the bound in all its forms, against models whose likelihood is known."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.objectives import NegativeELBO
from dgmjax.testing import scramble

LEVELS = 5
KEY = jax.random.key(0)
POSTERIORS = ("gaussian", "full_covariance", "planar", "radial", "sylvester", "coupling", "iaf")
PRIORS = {
    "normal": lambda rngs: None,
    "distrax": lambda rngs: distrax.MultivariateNormalDiag(
        jnp.ones(3, jnp.float32), jnp.full(3, 2.0, jnp.float32)
    ),
    "mixture": lambda rngs: dgm.priors.GaussianMixture(3, 4, rngs=rngs),
    "vamp": lambda rngs: dgm.priors.VampPrior((6,), 4, num_levels=LEVELS, rngs=rngs),
    "aggregated": lambda rngs: dgm.priors.AggregatedPosterior(np.asarray(events(7))),
    "realnvp": lambda rngs: dgm.FlowPrior(3, depth=2, width=8, rngs=rngs),
    "maf": lambda rngs: dgm.FlowPrior(3, kind="maf", depth=2, width=8, rngs=rngs),
}


def events(*shape: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (*shape, 6), 0, LEVELS)


def make(posterior: str = "gaussian", prior: str = "normal", **options) -> dgm.VAE:
    rngs = nnx.Rngs(0)
    options = {"likelihood": "categorical", "num_levels": LEVELS} | options
    return dgm.VAE(
        (6,),
        latent_dim=3,
        posterior=posterior,
        prior=PRIORS[prior](rngs),
        width=8,
        depth=1,
        posterior_depth=2,
        posterior_width=8,
        context_size=4,
        **options,
        rngs=rngs,
    )


def test_pseudo_inputs_that_are_data_give_the_posteriors_of_those_data():
    x = jax.random.randint(jax.random.key(1), (3, 6), 1, LEVELS - 1)  # tanh never reaches the ends
    rngs = nnx.Rngs(0)
    prior = dgm.priors.VampPrior((6,), 3, num_levels=LEVELS, init=x, rngs=rngs)
    model = scramble(
        dgm.VAE(
            (6,),
            latent_dim=2,
            likelihood="categorical",
            num_levels=LEVELS,
            width=8,
            depth=1,
            rngs=rngs,
        ),
        KEY,
    )
    model.prior = prior
    z = jax.random.normal(KEY, (4, 2), jnp.float32)
    each = [model.posterior.log_prob(z, model.encode(row)) for row in x]
    expected = jax.nn.logsumexp(jnp.stack(each), 0) - float(np.log(3))
    found = model.prior_distribution().log_prob(z)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@jax.jit
def elbo_terms(model, x, seed):
    return model.elbo_terms(x, seed=seed)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_three_forms_of_the_elbo_are_equal(posterior):
    """Row L5-31: with the joint, with a divergence, and with the base of the flow and its log-determinants."""
    model, x, seed = make(posterior, "realnvp"), events(4), jax.random.key(2)
    terms = elbo_terms(model, x, seed)
    np.testing.assert_allclose(terms.elbo, terms.log_weight, rtol=1e-6)
    if hasattr(model.posterior, "sample_parts"):
        _, log_q0, z, log_det = model.posterior.sample_parts(model.encode(x), seed=seed)
        joint = model.log_likelihood(x, z) + model.prior.log_prob(z)
        np.testing.assert_allclose(joint - log_q0 + log_det, terms.elbo, rtol=1e-6)


@pytest.mark.parametrize("posterior", ["gaussian", "full_covariance"])
def test_the_divergence_in_closed_form_is_the_mean_of_samples(posterior):
    model, x = make(posterior), events(3)
    seeds = jax.random.split(jax.random.key(0), 20_000)
    terms = jax.jit(jax.vmap(lambda seed: model.elbo_terms(x, seed=seed)))(seeds)
    terms = jax.tree.map(np.asarray, terms)
    sampled = terms.log_posterior - terms.log_prior
    error = np.abs(np.mean(sampled - terms.kl.sum(-1), 0))
    assert (error < 5 * np.std(sampled, 0) / np.sqrt(len(seeds))).all()
    assert np.ptp(terms.kl, axis=0).max() == 0  # of no sample


@pytest.mark.parametrize("prior", PRIORS)
@jax.numpy_rank_promotion("allow")  # distrax broadcasts
def test_every_prior_trains_samples_and_evaluates(prior, x32):
    model, x = scramble(make(prior=prior), jax.random.key(7)), events(5)

    @jax.jit
    def gradient(model, seed):
        params, fixed, merge = dgm.training.partition(model)
        loss = lambda params: -merge(params, fixed).log_prob(x, seed=seed).mean()  # noqa: E731
        return jax.value_and_grad(loss)(params)

    value, grads = gradient(model, jax.random.key(0))
    assert np.isfinite(value)
    for name, grad in grads.items():
        assert np.isfinite(grad).all(), name
        assert np.abs(grad).max() > 0, name
    samples = jax.jit(lambda m, k: m.sample(seed=k, sample_shape=(9,)))(model, jax.random.key(1))
    assert (samples.shape, samples.dtype) == ((9, 6), jnp.uint8)
    assert set(np.unique(samples)) <= set(range(LEVELS))
    assert str(dgm.objectives.bound_of(model, 8)).startswith("importance-weighted bound, K=8")


def test_a_flow_that_is_the_identity_is_the_standard_prior():
    """Row L7-37."""
    plain, flow = make(), make(prior="realnvp")
    flow.encoder, flow.decoder = plain.encoder, plain.decoder
    x, seed = events(4), jax.random.key(3)
    ours, theirs = elbo_terms(plain, x, seed), elbo_terms(flow, x, seed)
    np.testing.assert_allclose(ours.log_weight, theirs.log_weight, rtol=1e-12)


def test_batch_axes_and_keys_of_examples():
    model, x = make("iaf"), events(2, 3)
    whole = model.log_prob(x, seed=jax.random.key(0))
    assert whole.shape == (2, 3)
    keys = jax.random.split(jax.random.key(0), (2, 3))
    rows = model.log_prob(x, seed=keys, num_samples=4, batch_size=2)
    one = model.log_prob(x[1, 2], seed=keys[1, 2], num_samples=4)
    np.testing.assert_allclose(rows[1, 2], one, rtol=1e-5)
    assert model.reconstruct(x, seed=jax.random.key(1)).shape == x.shape


def test_the_loss_has_beta_free_bits_and_a_warm_up():
    # Posteriors far from the prior, so that the divergence has its digits in a difference of losses.
    encoder = dgm.nets.MLP(6, (6,), width=8, depth=1, zero_init=False, rngs=nnx.Rngs(0))
    model, x, key = make(encoder=encoder), events(4), jax.random.key(0)
    batch, keys = {"x": x}, jax.random.split(key, 4)
    plain, metrics = NegativeELBO()(model, batch, keys)
    rate = metrics["kl"][0] / 4
    assert np.isclose(metrics["reconstruction"][0] / 4 + rate, plain)
    assert np.isclose(metrics["nats"][0] / 4, plain)
    twice, of_twice = NegativeELBO(beta=2.0)(model, batch, keys)
    assert np.isclose(twice - plain, rate)
    assert np.isclose(of_twice["nats"][0] / 4, plain)
    half, _ = NegativeELBO(warmup_steps=10)(model, batch, keys, step=jnp.asarray(5))
    assert np.isclose(plain - half, rate / 2)
    free, _ = NegativeELBO(free_bits=100.0)(model, batch, keys)
    assert np.isclose(free - plain, 3 * 100.0 - rate)
    with pytest.raises(ValueError, match="negative"):
        NegativeELBO(beta=-1.0)


def test_the_trainer_gives_the_loss_its_step(x32):
    seen = []

    def loss(model, batch, key, step):
        jax.debug.callback(lambda step: seen.append(int(step)), step)
        return NegativeELBO()(model, batch, key)

    x = np.asarray(events(16))
    dgm.fit(
        make(),
        x,
        seed=jax.random.key(0),
        steps=3,
        batch_size=8,
        loss=loss,
        watch=dgm.Watch(progress=False),
    )
    jax.effects_barrier()
    assert sorted(set(seen)) == [0, 1, 2]


def test_saved_and_loaded(tmp_path, x32):
    model, x = make("iaf", "vamp"), events(3)
    dgm.save(tmp_path / "vae", model)
    loaded = dgm.load(tmp_path / "vae")
    seed = jax.random.key(0)
    np.testing.assert_array_equal(model.log_prob(x, seed=seed), loaded.log_prob(x, seed=seed))


def test_a_prior_fitted_to_codes_changes_the_marginal_divergence_only(x32):
    """Rows L7-34 and L7-28: maximum likelihood on codes is a step towards the optimal prior."""
    plain = scramble(make(), jax.random.key(3), scale=0.5)
    x = np.asarray(events(400))
    codes, _ = plain.posterior.sample_and_log_prob(
        plain.encode(jnp.asarray(x)), seed=jax.random.key(1)
    )
    prior = dgm.FlowPrior(3, depth=2, width=8, rngs=nnx.Rngs(0))
    fitted = dgm.fit(
        prior, np.asarray(codes), seed=jax.random.key(2), steps=300, batch_size=100,
        learning_rate=1e-2, execution=dgm.Execution(steps_per_call=50), watch=dgm.Watch(progress=False),
    ).model  # fmt: skip
    flow = make(prior="realnvp")
    flow.encoder, flow.decoder, flow.prior = plain.encoder, plain.decoder, nnx.data(fitted)
    before, after = (
        dgm.objectives.elbo_surgery(model, x, jax.random.key(4)) for model in (plain, flow)
    )
    assert np.isclose(before.reconstruction, after.reconstruction, rtol=1e-5)
    assert np.isclose(before.mutual_information, after.mutual_information, rtol=1e-4)
    assert after.marginal_kl < 0.5 * before.marginal_kl


def test_the_divergence_from_a_flow_prior_is_that_of_the_posterior_taken_back():
    """Row D3-33 with erratum E-D3-8: KL(q || T#p) = KL(T^-1#q || p), which the printed ``p(T^-1(z))`` is not."""
    mean, log_std, shift, log_scale = 0.7, -0.4, -0.3, 0.9  # z = T(u) = exp(log_scale) u + shift
    kl = dgm.densities.normal_kl(*map(jnp.asarray, (mean, log_std, shift, log_scale)))
    back = dgm.densities.normal_kl_standard(
        jnp.asarray((mean - shift) / np.exp(log_scale)), jnp.asarray(log_std - log_scale)
    )
    np.testing.assert_allclose(kl, back, rtol=1e-12)
    z = np.linspace(-8.0, 8.0, 40_001)
    log_q = np.asarray(dgm.densities.normal_log_prob(jnp.asarray(z), mean, log_std))
    u = (z - shift) / np.exp(log_scale)
    log_p = np.asarray(dgm.densities.normal_log_prob(jnp.asarray(u), 0.0, 0.0))
    printed = np.trapezoid(np.exp(log_q) * (log_q - log_p), z)
    np.testing.assert_allclose(np.trapezoid(np.exp(log_q) * (log_q - log_p + log_scale), z), kl)
    assert abs(printed - kl) > 0.5


def test_parts_that_do_not_fit_say_so():
    with pytest.raises(ValueError, match="prior's event_shape is \\(2,\\), expected \\(3,\\)"):
        dgm.VAE((6,), latent_dim=3, prior=dgm.FlowPrior(2, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="network"):
        dgm.VAE((6,), network="transformer", rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="integer"):
        make().log_prob(jnp.zeros((2, 6)), seed=jax.random.key(0))
