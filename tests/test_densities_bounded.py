"""Truncated and logit-normal densities, and the discretization of any distribution."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from scipy import special, stats

import dgmjax as dgm
from dgmjax.densities.discretized_distribution import DiscretizedFromCDF
from dgmjax.densities.logit_normal import (
    logit_normal_log_prob,
    logit_normal_sample,
)
from dgmjax.densities.truncated import (
    truncated_normal_cdf,
    truncated_normal_icdf,
    truncated_normal_log_prob,
    truncated_normal_sample,
)
from dgmjax.numerics import erfcx

NORMAL = tuple(
    jax.jit(f) for f in (truncated_normal_log_prob, truncated_normal_cdf, truncated_normal_icdf)
)
# loc, log_scale, low, high: around the mode, eight scales below and above, far out, narrow, wide.
INTERVALS = [
    (0.2, 0.0, -1.0, 2.0),
    (-8.0, 0.0, 0.0, 1.0),
    (9.0, 0.0, 0.0, 1.0),
    (-100.0, 0.0, 0.0, 1.0),
    (0.5, 9.0, 0.0, 1.0),
    (0.5, -3.0, 0.0, 1.0),
    (0.0, 0.0, -30.0, 40.0),
]
# So far out that the density underflows, and where an error function of JAX does (`dgmjax.numerics.erfcx`).
FAR = [
    (1e4, 0.0, 0.0, 1.0),
    (-1e4, -3.0, 0.0, 1.0),
    (1.02, -2.89, 0.0, 1.0),
    (1.68, -2.95, 0.0, 1.0),
    (4.59, -1.31, 0.0, 1.0),
]
POINTS = np.array([1e-3, 0.2, 0.5, 0.9, 0.999])


@pytest.mark.parametrize("parameters", INTERVALS)
def test_truncated_densities_integrate_to_one_and_cdf_and_quantile_fit(parameters):
    log_prob, cdf, icdf = NORMAL
    # Between quantiles a fixed share of the mass, wherever in the interval it lies.
    p = jnp.concatenate([jnp.asarray([1e-12]), jnp.asarray(POINTS), jnp.asarray([1 - 1e-12])])
    x = icdf(p, *parameters)
    assert jnp.allclose(cdf(x, *parameters), p, rtol=1e-8, atol=1e-10)
    nodes, weights = np.polynomial.legendre.leggauss(100)
    half = jnp.diff(x)[:, None] / 2
    inner = x[:-1, None] + half * (1 + jnp.asarray(nodes)[None])
    mass = (jnp.exp(log_prob(inner, *parameters)) * half * jnp.asarray(weights)[None]).sum()
    assert jnp.allclose(mass, 1.0, atol=1e-9)
    slope = jax.vmap(jax.grad(lambda x: cdf(x, *parameters)))(inner.ravel())
    assert jnp.allclose(slope, jnp.exp(log_prob(inner.ravel(), *parameters)), rtol=1e-7, atol=1e-12)
    low, high = parameters[2:]
    outside = jnp.asarray([low - 1e-3, high + 1e-3])
    assert (log_prob(outside, *parameters) == -jnp.inf).all()
    assert jnp.array_equal(cdf(outside, *parameters), jnp.asarray([0.0, 1.0]))
    assert jnp.array_equal(icdf(jnp.asarray([0.0, 1.0]), *parameters) <= high, jnp.ones(2, bool))


@pytest.mark.parametrize("parameters", INTERVALS)
def test_truncated_normal_agrees_with_scipy(parameters):
    loc, log_scale, low, high = parameters
    scale = np.exp(log_scale)
    oracle = stats.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)
    x = np.linspace(low, high, 51)
    got = truncated_normal_log_prob(jnp.asarray(x), *parameters)
    assert np.allclose(got, oracle.logpdf(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("parameters", INTERVALS)
def test_truncated_single_precision_keeps_its_digits_in_the_tails(parameters):
    log_prob, cdf, icdf = NORMAL
    loc, log_scale, low, high = parameters
    x = np.linspace(low, high, 21, dtype=np.float32)
    z = np.abs((x - loc) / np.exp(log_scale)).max()
    bound = 2e-7 * (10 + z**2)
    single = log_prob(jnp.asarray(x), *parameters)
    assert single.dtype == jnp.float32
    double = log_prob(jnp.asarray(x, jnp.float64), *parameters)
    assert np.abs(single.astype(jnp.float64) - double).max() < bound
    p = jnp.asarray(POINTS, jnp.float32)
    back = cdf(icdf(p, *parameters), *parameters)
    assert back.dtype == jnp.float32
    assert np.abs(back - p).max() < 10 * bound


@pytest.mark.parametrize("parameters", [*INTERVALS, *FAR])
def test_truncated_values_and_gradients_are_finite(parameters):
    log_prob, cdf, icdf = NORMAL
    low, high = parameters[2:]
    x = jnp.asarray([low - 1.0, low, 0.5 * (low + high), high, high + 1.0], jnp.float32)
    p = jnp.asarray([0.0, 1e-6, 0.5, 1 - 1e-6, 1.0], jnp.float32)
    full = tuple(jnp.full_like(x, a) for a in parameters)
    for function, argument in ((log_prob, x), (cdf, x), (icdf, p)):
        value, pull = jax.vjp(function, argument, *full)
        assert not jnp.isnan(value).any()
        assert all(jnp.isfinite(g).all() for g in pull(jnp.ones_like(value)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erfcx_has_no_hole(dtype):
    x = np.linspace(-3, 40, 100_001).astype(dtype)
    got = jax.jit(erfcx)(jnp.asarray(x))
    assert got.dtype == dtype
    expected = special.erfcx(x.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=10 * np.finfo(dtype).eps)


def test_truncated_quantiles_have_implicit_gradients():
    _, _, icdf = NORMAL
    point = jnp.asarray([0.3, 0.2, -0.1, -1.0, 2.0])

    def quantile(point):
        return icdf(*point)

    steps = 1e-5 * jnp.eye(5)
    differences = jnp.stack([(quantile(point + h) - quantile(point - h)) / 2e-5 for h in steps])
    assert jnp.allclose(jax.jacrev(quantile)(point), differences, atol=1e-7)


def _law(sample, log_prob, parameters):
    """The functions under the names that `check_density` calls."""

    class Law:
        event_shape = ()

        def log_prob(self, x):
            return log_prob(x, *parameters)

        def sample(self, *, seed, sample_shape=()):
            shape = (sample_shape,) if isinstance(sample_shape, int) else sample_shape
            return sample(seed, *parameters, sample_shape=shape)

        def sample_and_log_prob(self, *, seed, sample_shape=()):
            x = self.sample(seed=seed, sample_shape=sample_shape)
            return x, self.log_prob(x)

    return Law()


@pytest.mark.parametrize("parameters", [INTERVALS[0], INTERVALS[1]])
def test_truncated_samples_follow_the_density(parameters):
    arrays = tuple(jnp.asarray(a) for a in parameters)
    law = _law(truncated_normal_sample, truncated_normal_log_prob, arrays)
    limits = parameters[2:]
    dgm.testing.check_density(law, seed=jax.random.key(0), limits=limits, smooth=False)


@pytest.mark.parametrize(("loc", "log_scale"), [(0.0, 0.0), (-1.0, -1.0), (1.0, 0.8)])
def test_logit_normal_is_the_density_of_its_samples_and_the_change_of_variables(loc, log_scale):
    x = jnp.asarray(POINTS)
    logit = special.logit(POINTS)
    expected = stats.norm.logpdf(logit, loc, np.exp(log_scale)) - np.log(POINTS * (1 - POINTS))
    np.testing.assert_allclose(logit_normal_log_prob(x, loc, log_scale), expected, rtol=1e-12)
    parameters = jnp.asarray(loc), jnp.asarray(log_scale)
    law = _law(logit_normal_sample, logit_normal_log_prob, parameters)
    dgm.testing.check_density(law, seed=jax.random.key(1), limits=(0.0, 1.0))


def test_logit_normal_is_finite_at_the_edges():
    x = jnp.asarray([-1.0, 0.0, 1e-38, 1e-20, 0.5, 1 - 6e-8, 1.0, 2.0], jnp.float32)
    zero = jnp.zeros_like(x)
    value, pull = jax.vjp(logit_normal_log_prob, x, zero, zero)
    assert not jnp.isnan(value).any()
    assert all(jnp.isfinite(g).all() for g in pull(jnp.ones_like(value)))
    log_prob = logit_normal_log_prob(x, 0.0, 0.0)
    assert jnp.array_equal(jnp.isfinite(log_prob), (x > 0) & (x < 1))
    wild = logit_normal_sample(
        jax.random.key(0), *jnp.asarray([0.0, 5.0], jnp.float32), sample_shape=(1000,)
    )
    assert jnp.isfinite(logit_normal_log_prob(wild, 0.0, 5.0)).all()


def _mixture(mean, scale):
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.asarray([0.0, 1.0], mean.dtype)),
        distrax.Logistic(jnp.stack([mean, mean + 3]), jnp.stack([scale, 2 * scale])),
    )


@pytest.mark.parametrize(("dtype", "error"), [(jnp.float32, 1e-6), (jnp.float64, 1e-12)])
@pytest.mark.parametrize("make", [distrax.Normal, distrax.Logistic, _mixture])
def test_discretized_masses_sum_to_one(make, dtype, error):
    def total(mean, scale):
        return jnp.exp(DiscretizedFromCDF(make(mean, scale), 256).log_prob(levels)).sum()

    levels = jnp.arange(256)
    means = [-1e3, 0.2, 100.0, 100.5, 1e5]
    mean, scale = (
        a.astype(dtype).ravel()
        for a in jnp.meshgrid(jnp.asarray(means), jnp.asarray([1e-30, 1e-3, 1.0, 1e4]))
    )
    sums = jax.jit(jax.vmap(total))(mean, scale)
    assert sums.dtype == dtype
    assert jnp.abs(sums - 1).max() < error


@pytest.mark.parametrize(
    "dist",
    [
        distrax.Normal(jnp.asarray(3.0), jnp.asarray(2.5)),
        distrax.Logistic(jnp.asarray(-1.0), jnp.asarray(1.5)),
        _mixture(jnp.asarray(2.0), jnp.asarray(0.7)),
        (functools.partial(norm.logcdf, loc=4.0), functools.partial(norm.logsf, loc=4.0)),
    ],
)
@pytest.mark.one_in(4)
def test_discretized_samples_follow_the_masses(dist):
    law = DiscretizedFromCDF(dist, 8)
    with jax.numpy_rank_promotion("allow"):  # distrax's own sampling of mixtures needs it
        dgm.testing.check_density(law, seed=jax.random.key(2), support=jnp.arange(8))


def test_discretized_batches_and_refusals():
    law = DiscretizedFromCDF(distrax.Normal(jnp.asarray([1.0, 5.0]), jnp.asarray([0.5, 2.0])), 8)
    assert law.batch_shape == (2,)
    sample, log_prob = law.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(3, 4))
    assert sample.shape == log_prob.shape == (3, 4, 2)
    assert jnp.array_equal(log_prob, law.log_prob(sample.astype(jnp.float64)))
    assert law.log_prob(jnp.asarray(3)).shape == (2,)
    far = DiscretizedFromCDF(distrax.Normal(jnp.asarray(1e20), jnp.asarray(1.0)), 8)
    assert far.sample(seed=jax.random.key(0)) == 7
    with pytest.raises(ValueError, match="at least 2"):
        DiscretizedFromCDF(distrax.Normal(0.0, 1.0), 1)
    with pytest.raises(ValueError, match="scalars"):
        DiscretizedFromCDF(distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2)), 4)
