"""Likelihoods, bounds and gaps of latent variable models, where all of them are known: linear and normal."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.analysis.active_units import active_units
from dgmjax.analysis.annealed_importance import annealed_importance
from dgmjax.analysis.inference_gaps import inference_gaps
from dgmjax.densities.linear_gaussian import linear_gaussian_log_prob, linear_gaussian_posterior
from dgmjax.objectives import elbo
from dgmjax.objectives.prior_monte_carlo import effective_sample_size, prior_monte_carlo

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(4, 2))
BIAS = RNG.normal(size=4)
SCALE = 0.6


class Affine(nnx.Module):
    """``matrix x + offset``: both networks of a linear VAE."""

    def __init__(self, matrix, offset):
        self.matrix = nnx.data(jnp.asarray(matrix))
        self.offset = nnx.data(jnp.asarray(offset))

    def __call__(self, x, *, key=None):
        del key
        y = x @ self.matrix.T
        return y + jnp.broadcast_to(self.offset, y.shape)


def float64(model):
    return jax.tree.map(
        lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, model
    )


def raw(log_std):
    """What the bounded map of the Gaussian posteriors takes to ``log_std``."""
    return 7.0 * np.arctanh(log_std / 7.0)


def exact(weight=WEIGHT, bias=BIAS, scale=SCALE):
    """The affine map to the mean of ``p(z | x)`` as matrix and offset, and the covariance."""
    covariance = np.linalg.inv(np.eye(weight.shape[1]) + weight.T @ weight / scale**2)
    gain = covariance @ weight.T / scale**2
    return gain, -gain @ bias, covariance


def encoder(gain, offset, covariance, posterior):
    """The encoder with these posteriors; of a diagonal one the precisions are those of the full one."""
    if posterior == "gaussian":
        rest = raw(-0.5 * np.log(np.diag(np.linalg.inv(covariance))))
    else:
        tril = np.linalg.cholesky(covariance)
        rest = np.concatenate(
            [raw(np.log(np.diag(tril))), tril[np.tril_indices(len(covariance), -1)]]
        )
    return Affine(
        np.concatenate([gain, np.zeros((len(rest), gain.shape[1]))]), np.concatenate([offset, rest])
    )


def linear_vae(
    posterior="full_covariance", *, weight=WEIGHT, bias=BIAS, scale=SCALE, prior=None, **change
):
    """A VAE whose encoder is the exact posterior, ``change`` apart: of ``gain``, ``offset``, ``covariance``."""
    parts = dict(zip(("gain", "offset", "covariance"), exact(weight, bias, scale), strict=True))
    size, dim = weight.shape
    return float64(
        dgm.VAE(
            (size,),
            latent_dim=dim,
            likelihood=dgm.likelihoods.Gaussian((size,), variance="fixed", scale=scale),
            posterior=posterior,
            prior=prior,
            encoder=encoder(**(parts | change), posterior=posterior),
            decoder=Affine(weight, bias),
            rngs=nnx.Rngs(0),
        )
    )


def data(n, weight=WEIGHT, bias=BIAS, scale=SCALE, seed=1):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, weight.shape[1]))
    return z @ weight.T + bias + scale * rng.normal(size=(n, len(bias)))


def normal_log_prob(x, mean, covariance):
    offset = x - mean
    square = np.einsum("...i,ij,...j->...", offset, np.linalg.inv(covariance), offset)
    return -0.5 * (square + np.linalg.slogdet(2 * np.pi * covariance)[1])


def normal_kl(mean_q, cov_q, mean_p, cov_p):
    offset, precision = mean_p - mean_q, np.linalg.inv(cov_p)
    square = np.einsum("...i,ij,...j->...", offset, precision, offset)
    log_dets = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]
    return 0.5 * (np.trace(precision @ cov_q) + square - len(cov_p) + log_dets)


def closed_elbo(x, mean, covariance, weight=WEIGHT, bias=BIAS, scale=SCALE):
    """``E_q [log p(x | z)] - KL(q || p)`` of ``q = N(mean, covariance)``."""
    offset = x - mean @ weight.T - bias
    square = (offset**2).sum(-1) + np.trace(weight @ covariance @ weight.T)
    log_likelihood = -0.5 * square / scale**2 - len(bias) * np.log(scale * np.sqrt(2 * np.pi))
    dim = len(covariance)
    return log_likelihood - normal_kl(mean, covariance, np.zeros(dim), np.eye(dim))


@jax.jit
def log_p_and_posterior(x):
    arguments = x, jnp.asarray(WEIGHT), jnp.asarray(BIAS), math.log(SCALE)
    return linear_gaussian_log_prob(*arguments), linear_gaussian_posterior(*arguments)


def log_p(x):
    return np.asarray(log_p_and_posterior(x)[0])


def annealed(model, x, key, **options):
    return jax.tree.map(np.asarray, annealed_importance(model, x, key, **options))


@jax.jit
def elbo_terms(model, x, seed):
    return model.elbo_terms(x, seed=seed)


# --- densities


def test_the_linear_gaussian_density_is_that_of_the_whole_covariance():
    x = data(6).reshape(2, 3, 4)
    expected = normal_log_prob(x, BIAS, WEIGHT @ WEIGHT.T + SCALE**2 * np.eye(4))
    np.testing.assert_allclose(log_p(x), expected, rtol=1e-12)
    mean, tril = log_p_and_posterior(x)[1]
    gain, offset, covariance = exact()
    np.testing.assert_allclose(mean, x @ gain.T + offset, rtol=1e-10)
    np.testing.assert_allclose(tril, np.linalg.cholesky(covariance), rtol=1e-10, atol=1e-15)


def test_the_linear_gaussian_density_is_the_joint_over_the_posterior():
    x, z = data(3), RNG.normal(size=(3, 2))
    mean, tril = log_p_and_posterior(x)[1]
    model = linear_vae()
    joint = jax.jit(lambda m, x, z: m.log_likelihood(x, z) + m.prior.log_prob(z))(model, x, z)
    posterior = dgm.densities.tril_normal_log_prob(z, mean, tril)
    np.testing.assert_allclose(joint - posterior, log_p(x), rtol=1e-12)


def test_the_linear_gaussian_density_of_small_noise_in_float32():
    """The difference of two quadratic forms would lose ``|x|^2 / s^2 = 1e8`` times 6e-8: whole nats."""
    scale, x = 1e-4, data(5, scale=1e-4)
    cast = [np.asarray(a, np.float32) for a in (x, WEIGHT, BIAS)]
    x = cast[0].astype(np.float64)
    exact64 = linear_gaussian_log_prob(
        jnp.asarray(x), *(a.astype(np.float64) for a in cast[1:]), math.log(scale)
    )
    found = linear_gaussian_log_prob(*(jnp.asarray(a) for a in cast), math.log(scale))
    assert found.dtype == jnp.float32
    # What remains is the rounding of x - b itself, 1e-7 / s sigmas.
    np.testing.assert_allclose(found, exact64, atol=0.05)
    np.testing.assert_allclose(
        exact64,
        normal_log_prob(
            x, cast[2].astype(float), cast[1].astype(float) @ cast[1].T + scale**2 * np.eye(4)
        ),
        rtol=1e-6,
    )


# --- the bound and expectation maximisation


def test_the_bound_with_the_exact_posterior_is_the_likelihood():
    """Row L7-39: the E-step makes every sample's weight the likelihood."""
    x = data(5)
    terms = elbo_terms(linear_vae(), x, jax.random.key(0))
    np.testing.assert_allclose(terms.log_weight, log_p(x), atol=1e-9)
    gain, offset, covariance = exact()
    np.testing.assert_allclose(closed_elbo(x, x @ gain.T + offset, covariance), log_p(x), atol=1e-9)


def test_the_likelihood_is_the_bound_plus_a_divergence():
    """Rows L7-30, L7-39; without the logarithm (errata E-L5-4, E-A4-2) it is not."""
    x = data(5)
    gain, offset, covariance = exact()
    means, mean, wide = x @ gain.T + offset, x @ gain.T + offset + 0.3, 1.7 * covariance
    bound = closed_elbo(x, mean, wide)
    gap = normal_kl(mean, wide, means, covariance)
    np.testing.assert_allclose(bound + gap, log_p(x), atol=1e-9)
    assert (np.abs(bound + gap - np.exp(log_p(x))) > 1).all()
    model = linear_vae(offset=offset + 0.3, covariance=wide)
    many = np.tile(x, (400, 1))
    found = np.asarray(elbo(model, many, jax.random.key(0), num_samples=4)).reshape(400, 5)
    assert (np.abs(found.mean(0) - bound) < 5 * found.std(0) / 20).all()
    assert (found.std(0) < 20 * 0.1).all()


def test_expectation_maximisation_is_monotone_and_ends_at_the_principal_components():
    """Each E-step makes the bound tight; the limit is Tipping and Bishop's equation 7."""
    x = jnp.asarray(data(300, scale=0.5))
    n = x.shape[1]
    centred = x - x.mean(0, keepdims=True)
    bias = x.mean(0)

    def step(state, _):
        weight, log_scale = state
        value = linear_gaussian_log_prob(x, weight, bias, log_scale).mean()
        mean, tril = linear_gaussian_posterior(x, weight, bias, log_scale)
        second = mean.T @ mean + len(x) * tril @ tril.T
        new = jnp.linalg.solve(second, mean.T @ centred).T
        square = (centred**2).sum() - jnp.trace(new @ mean.T @ centred)
        return (new, 0.5 * jnp.log(square / (len(x) * n))), value

    start = (jnp.asarray(np.random.default_rng(3).normal(size=(n, 2))), jnp.zeros(()))
    (_, log_scale), values = jax.jit(lambda s: jax.lax.scan(step, s, length=300))(start)
    assert (np.diff(values) > -1e-9).all()
    assert values[-1] - values[0] > 0.1
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, ddof=0))
    noise = eigenvalues[: n - 2].mean()
    best = -0.5 * (n * np.log(2 * np.pi) + np.log(eigenvalues[n - 2 :]).sum())
    best -= 0.5 * ((n - 2) * np.log(noise) + n)
    np.testing.assert_allclose(values[-1], best, atol=1e-6)
    np.testing.assert_allclose(np.exp(2 * log_scale), noise, rtol=1e-4)


# --- samples of the prior


def test_samples_of_the_prior_give_the_likelihood():
    """Row A4-05: unbiased for ``p(x)``, a lower bound for its logarithm."""
    model = linear_vae(weight=WEIGHT[:1, :1], bias=BIAS[:1])
    x = jnp.broadcast_to(jnp.asarray([0.7]), (500, 1))
    found = prior_monte_carlo(model, x, jax.random.key(0), num_samples=16, batch_size=4)
    expected = linear_gaussian_log_prob(x[0], WEIGHT[:1, :1], BIAS[:1], math.log(SCALE))
    ratio = np.exp(found - expected)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(500)
    assert ratio.std() / math.sqrt(500) < 0.03
    single = np.exp(prior_monte_carlo(model, x, jax.random.key(0), num_samples=1) - expected)
    assert abs(single.std() / ratio.std() - 4) < 1, "sixteen samples are draws of their own"
    assert found.mean() < expected
    keys = jax.random.split(jax.random.key(0), 500)
    rows = prior_monte_carlo(model, x, keys, num_samples=16)
    one = prior_monte_carlo(model, x[3], keys[3], num_samples=16)
    np.testing.assert_allclose(rows[3], one, rtol=1e-12)


def test_samples_of_the_prior_fail_exponentially_with_the_dimension():
    """Row A4-06: the share of effective samples is a product over independent dimensions."""
    scale, num, shares, weighted = 0.5, 200_000, {}, {}
    mean_square = math.sqrt(1 + scale**2 / 2) * 2 * scale * math.sqrt(math.pi)
    jitted = jax.jit(lambda model, x, z: model.log_likelihood(x, z))
    of_one = mean_square / (math.sqrt(2 * math.pi) * (1 + scale**2))  # E[w]^2 / E[w^2] at x = 0
    for dim in (2, 8):
        parts = {"weight": np.eye(dim), "bias": np.zeros(dim), "scale": scale}
        wide = 1.1 * exact(**parts)[2]
        model, x = linear_vae("gaussian", **parts, covariance=wide), jnp.zeros((num, dim))
        z = model.sample_latents(jax.random.key(0), num)
        shares[dim] = float(effective_sample_size(jitted(model, x, z))) / num
        log_weights = elbo_terms(model, x, jax.random.key(1)).log_weight
        weighted[dim] = float(effective_sample_size(log_weights)) / num
        np.testing.assert_allclose(shares[dim], of_one**dim, rtol=0.2)
    assert shares[8] < 0.03
    assert weighted[8] > 0.95


def test_effective_sample_size():
    log_weights = jnp.log(jnp.asarray([[1.0, 1.0, 3.0, 0.0], [1.0, 0.0, 1.0, 0.0]]))
    found = effective_sample_size(log_weights)
    np.testing.assert_allclose(found, [2.0, 1.0, 1.6, 0.0])
    np.testing.assert_allclose(effective_sample_size(log_weights - 5e3)[:3], found[:3])


# --- annealed importance sampling

AIS = {"num_temperatures": 60, "num_leapfrog": 3, "num_chains": 32, "step_size": 0.3}


def test_annealed_importance_sampling_finds_the_likelihood():
    x = data(5)
    found = annealed(linear_vae(), x, jax.random.key(0), **AIS)
    assert found.log_weights.shape == (32, 5)
    assert found.z.shape == (32, 5, 2)
    weights = np.exp(found.log_weights - log_p(x))
    errors = weights.std(0) / math.sqrt(32)
    assert (np.abs(found.log_prob - log_p(x)) < 4 * errors).all()
    assert (errors < 0.2).all()
    prior = effective_sample_size(
        linear_vae().log_likelihood(x, linear_vae().sample_latents(jax.random.key(1), (32, 5)))
    )
    assert effective_sample_size(found.log_weights).mean() > 1.5 * prior.mean()


def test_annealed_importance_sampling_is_unbiased_while_it_adapts():
    """From a step size too large: one chain an estimate, its mean is ``p(x)`` and its logarithm is below."""
    x = np.tile(data(1), (10_000, 1))
    few = AIS | {"num_temperatures": 12, "num_chains": 1, "step_size": 0.9}
    found = annealed(linear_vae(), x, jax.random.key(2), **few)
    ratio = np.exp(found.log_prob - log_p(x))
    error = ratio.std() / math.sqrt(len(x))
    assert error < 0.02
    assert abs(ratio.mean() - 1) < 4 * error
    assert np.mean(found.log_prob - log_p(x)) < -0.05
    # Neither a run that never moves nor one that never adapts.
    assert found.acceptance.mean() > 0.25
    assert found.step_size.mean() < 0.85


def test_step_sizes_reach_the_acceptance_from_both_sides():
    x = data(4)
    for start in (0.01, 10.0):
        long = AIS | {"num_temperatures": 300, "step_size": start, "num_chains": 8}
        found = annealed(linear_vae(), x, jax.random.key(3), **long)
        assert ((found.step_size > 0.1) & (found.step_size < 2.0)).all(), found.step_size
        assert (np.abs(found.acceptance - 0.65) < 0.2).all(), found.acceptance
    fixed = annealed(linear_vae(), x, jax.random.key(3), **AIS, num_pilots=0)
    np.testing.assert_allclose(fixed.step_size, 0.3)


def test_annealed_importance_sampling_from_another_prior():
    """A mixture: ``p(x)`` is one too. Keys of examples make each independent of the others."""
    prior = dgm.priors.GaussianMixture(2, 3, rngs=nnx.Rngs(0))
    model, x = linear_vae(prior=prior), data(4)
    keys = jax.random.split(jax.random.key(4), 4)
    found = annealed(model, x, keys, **AIS)
    covariance = WEIGHT @ WEIGHT.T + SCALE**2 * np.eye(4)
    parts = [normal_log_prob(x, WEIGHT @ m + BIAS, covariance) for m in np.asarray(prior.means)]
    expected = np.logaddexp.reduce(np.stack(parts), 0) - math.log(3)
    errors = np.exp(found.log_weights - expected).std(0) / math.sqrt(32)
    assert (np.abs(found.log_prob - expected) < 4 * errors).all()
    assert (errors < 0.3).all()
    one = annealed(model, x[1], keys[1], **AIS)
    np.testing.assert_allclose(one.log_prob, found.log_prob[1], rtol=1e-9)


def test_annealed_importance_sampling_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="num_leapfrog must be at least 1"):
        annealed(linear_vae(), data(2), jax.random.key(0), **AIS | {"num_leapfrog": 0})
    with pytest.raises(ValueError, match="annealed_importance: expected an array"):
        annealed(linear_vae(), data(2)[:, :3], jax.random.key(0), **AIS)


# --- gaps

GAPS = {"steps": 300, "learning_rate": 0.02, "samples_per_step": 16, "num_samples": 1000}


def check(found, x, approximation, amortization):
    errors = found.standard_errors
    assert (
        np.abs(found.approximation_gap - approximation) < 5 * errors["local_elbo"] + 0.02
    ).all(), (found.approximation_gap, approximation)
    assert (
        np.abs(found.amortization_gap - amortization) < 5 * errors["amortization_gap"] + 0.02
    ).all(), (found.amortization_gap, amortization)
    assert (errors["amortization_gap"] < 0.1).all()
    assert (found.amortized_elbo <= found.local_elbo).all()
    assert (found.local_elbo <= found.log_prob).all()
    np.testing.assert_allclose(found.log_prob, log_p(x), atol=0.1)


def test_gaps_of_a_posterior_that_can_be_exact():
    """Row D3-27: all of the gap is the encoder's."""
    x = data(3)
    gain, offset, covariance = exact()
    shift = np.array([0.3, -0.2])
    model = linear_vae(offset=offset + shift, covariance=1.5 * covariance)
    divergence = normal_kl(
        x @ gain.T + offset + shift, 1.5 * covariance, x @ gain.T + offset, covariance
    )
    found = inference_gaps(model, x, jax.random.key(0), **GAPS, batch_size=50)
    check(found, x, 0.0, divergence)
    mean, _ = model.posterior.moments(found.features)
    np.testing.assert_allclose(mean, x @ gain.T + offset, atol=0.1)
    assert str(found).startswith("log p(x) ")
    assert "amortisation gap" in str(found)


def test_gaps_of_a_mean_field_posterior():
    """The best diagonal posterior has the diagonal of the precision: ``KL = (sum log M_ii - log det M) / 2``."""
    x = data(3)
    gain, offset, covariance = exact()
    precision = np.linalg.inv(covariance)
    mean_field = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert mean_field > 0.1
    shift = np.array([0.3, -0.2])
    amortization = 0.5 * shift**2 @ np.diag(precision) + shift[0] * shift[1] * precision[0, 1]
    model = linear_vae("gaussian", offset=offset + shift)
    found = inference_gaps(
        model, x, jax.random.key(1), **GAPS, batch_size=50, log_prob=jnp.asarray(log_p(x))
    )
    check(found, x, mean_field, amortization)


def test_gaps_of_an_encoder_that_is_optimal_and_wrong_arguments():
    x = data(2)
    few = GAPS | {"steps": 20, "num_samples": 100, "learning_rate": 0.5, "samples_per_step": 1}
    found = inference_gaps(linear_vae(), x, jax.random.key(0), **few)
    # Noisy steps from the optimum lose, so the encoder's features stay.
    np.testing.assert_array_equal(found.amortization_gap, 0.0)
    np.testing.assert_allclose(found.log_prob, log_p(x), atol=1e-9)
    # Of two lower bounds the larger one counts.
    for offset, larger in ((-1.0, 0.0), (1.0, 1.0)):
        other = inference_gaps(
            linear_vae(), x, jax.random.key(0), **few, log_prob=jnp.asarray(log_p(x) + offset)
        )
        np.testing.assert_allclose(other.log_prob, log_p(x) + larger, atol=1e-9)
    with pytest.raises(ValueError, match="one log_prob an example, \\(2,\\)"):
        inference_gaps(linear_vae(), x, jax.random.key(0), log_prob=jnp.zeros(3))
    with pytest.raises(ValueError, match="num_samples must be at least 2"):
        inference_gaps(linear_vae(), x, jax.random.key(0), num_samples=1)


# --- active units


def test_active_units_are_those_whose_mean_moves():
    """Row A4-10: a decoder that ignores the second latent has an exact posterior that collapses there."""
    weight = WEIGHT * np.array([1.0, 0.0])
    x = data(800, weight=weight)
    model = linear_vae(weight=weight)
    found = active_units(model, x)
    gain, _, covariance = exact(weight)
    np.testing.assert_allclose(found.variances, np.cov((x @ gain.T).T).diagonal(), atol=1e-9)
    np.testing.assert_allclose(
        found.variances, 1 - covariance.diagonal(), atol=0.1
    )  # Var E + E Var
    assert found.number == 1
    assert str(found) == "1 of 2 latents are active"
    assert active_units(model, x, threshold=2.0).number == 0


def test_active_units_of_a_posterior_without_moments():
    """The noise of the means alone, ``1/16`` of a collapsed unit, would count it as active."""
    base = dgm.posteriors.DiagonalGaussian(2)
    posterior = dgm.posteriors.FlowPosterior(base, dgm.Permute((2,), [1, 0]))
    means = RNG.normal(size=(800, 1))
    model = dgm.VAE(
        (1,), latent_dim=2, likelihood=dgm.likelihoods.Gaussian((1,)), posterior=posterior,
        encoder=Affine(np.array([[0.7], [0.0], [0.0], [0.0]]), np.zeros(4)), rngs=nnx.Rngs(0),
        width=4, depth=1,
    )  # fmt: skip
    found = active_units(float64(model), means, key=jax.random.key(0), num_samples=16)
    np.testing.assert_allclose(found.variances, [0.0, 0.49 * np.var(means)], atol=0.05)
    assert abs(found.variances[0]) < 0.01
    assert found.number == 1
    with pytest.raises(ValueError, match="does not know its mean"):
        active_units(float64(model), means)


def test_the_bound_as_printed_in_the_lectures_is_none():
    """Erratum E-D3-6: the denominator is q(z | x), not q(x | z), and the mean is over q(z | x), not over q(z)."""
    weight, bias, scale = np.array([[1.3]]), np.array([0.2]), 0.6
    model = linear_vae(weight=weight, bias=bias, scale=scale)
    x = jnp.asarray([[-1.0], [0.5], [2.5]])
    truth = linear_gaussian_log_prob(x, weight, bias, jnp.log(scale))
    z, log_q = model.posterior.sample_and_log_prob(
        model.encode(x), seed=jax.random.key(0), sample_shape=(4_000,)
    )

    def joint(z):
        return model.log_likelihood(x, z) + model.prior.log_prob(z)

    np.testing.assert_allclose((joint(z) - log_q).mean(0), truth, atol=1e-9)
    of_x_given_z = model.posterior.log_prob(jnp.broadcast_to(x, z.shape), model.encode(z))
    assert ((joint(z) - of_x_given_z).mean(0) > truth + 0.05).all()  # above the likelihood
    marginal = jax.random.permutation(jax.random.key(1), z.reshape(-1)).reshape(z.shape)
    log_q_there = model.posterior.log_prob(marginal, model.encode(x))
    # Of every z the integrand is log p(x) here, so the mean over q(z) shows nothing until the encoder is off.
    np.testing.assert_allclose((joint(marginal) - log_q_there).mean(0), truth, atol=1e-9)
    wide = linear_vae(
        weight=weight, bias=bias, scale=scale, covariance=2.0 * exact(weight, bias, scale)[2]
    )
    over_marginal = (joint(marginal) - wide.posterior.log_prob(marginal, wide.encode(x))).mean(0)
    over_posterior = dgm.objectives.elbo(wide, x, jax.random.key(2), num_samples=2_000)
    assert (over_posterior < truth + 0.02).all()
    assert (np.abs(over_marginal - over_posterior) > 0.2).any()
