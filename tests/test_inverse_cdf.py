"""Elementwise maps, the inverse transform, and the Rosenblatt transform: facts beyond the laws."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import ndtri
from jax.scipy.stats import norm
from scipy import stats

import dgmjax as dgm
from dgmjax.bijectors.elementwise import (
    LeakyReLUTransformer,
    leaky_relu_forward,
    leaky_relu_inverse,
    softplus_forward,
    softplus_inverse,
    tanh_forward,
    tanh_inverse,
)
from dgmjax.bijectors.logit import logit_forward
from dgmjax.layers.inverse_cdf import GaussianMixtureRosenblatt, InverseCDF
from dgmjax.testing import cast
from tests.rows.inverse_cdf import DIAGONAL, FULL

COUNT = 20_000

# Elementwise maps.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "forward",
    [
        lambda z: leaky_relu_forward(z, 0.1),
        softplus_forward,
        tanh_forward,
        lambda z: logit_forward(z, 1.0, 0.0),
    ],
)
def test_elementwise_maps_are_finite_and_have_the_right_tails(forward, dtype):
    z = jnp.asarray([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4], dtype)
    (x, log_derivative), pull = jax.vjp(forward, z)
    assert x.dtype == log_derivative.dtype == dtype
    assert jnp.isfinite(x).all()
    assert jnp.isfinite(log_derivative).all()
    assert jnp.isfinite(pull((jnp.ones_like(z), jnp.ones_like(z)))[0]).all()


def test_elementwise_log_derivatives_are_exact_where_the_derivative_rounds_away():
    z = jnp.asarray([-1e4, -50.0, 50.0, 1e4], jnp.float32)
    far = 2 * (math.log(2) - jnp.abs(z))
    assert jnp.allclose(tanh_forward(z)[1], far, rtol=1e-6)
    assert jnp.allclose(softplus_forward(z)[1], jnp.minimum(z, 0.0), rtol=1e-6)
    assert jnp.array_equal(
        leaky_relu_forward(z, 0.5)[1], jnp.asarray([-1, -1, 0, 0], jnp.float32) * np.log(2).item()
    )


def test_elementwise_inverses_over_their_range():
    z = jnp.linspace(-80.0, 80.0, 161)
    for forward, inverse, inside in (
        (softplus_forward, softplus_inverse, z > -80.5),
        (tanh_forward, tanh_inverse, jnp.abs(z) < 8),
        (lambda z: leaky_relu_forward(z, 0.01), lambda x: leaky_relu_inverse(x, 0.01), z < 81),
    ):
        x, log_derivative = forward(z[inside])
        back, inverse_log = inverse(x)
        assert jnp.allclose(back, z[inside], rtol=1e-12, atol=1e-8)
        assert jnp.allclose(inverse_log, -log_derivative, rtol=1e-12, atol=1e-8)
    # Single precision, both ends: z = log(expm1(x)) naively overflows at 1e4 and rounds to -inf at 1e-8.
    x = jnp.asarray([1e-30, 1e-8, 1e4], jnp.float32)
    assert jnp.allclose(
        softplus_inverse(x)[0], jnp.asarray([-69.077553, -18.420681, 1e4], jnp.float32)
    )


def test_leaky_relu_refuses_a_flat_side():
    with pytest.raises(ValueError, match="negative_slope"):
        LeakyReLUTransformer(0.0)


# Inverse CDF.


def mixture(dtype=jnp.float64):
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.asarray([0.2, -0.5], dtype)),
        distrax.Normal(jnp.asarray([-3.0, 40.0], dtype), jnp.asarray([0.6, 1.0], dtype)),
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_inverse_cdf_of_a_normal_is_ndtri_in_both_tails(dtype):
    layer = InverseCDF(distrax.Normal(jnp.zeros((), dtype), jnp.ones((), dtype)), ())
    u = jnp.asarray([1e-30, 1e-10, 1e-3, 0.5, 0.9, 1 - 1e-6], dtype)
    x, log_det = layer.forward_and_log_det(u)
    assert x.dtype == log_det.dtype == dtype
    tolerance = 50 * jnp.finfo(dtype).eps
    assert jnp.allclose(x, ndtri(u), rtol=tolerance, atol=tolerance)
    assert jnp.allclose(log_det, -norm.logpdf(x), rtol=tolerance)


def test_inverse_cdf_at_the_closed_ends_is_finite():
    layer = InverseCDF(distrax.Normal(jnp.float32(0), jnp.float32(1)), (2,))
    x, log_det = layer.forward_and_log_det(jnp.asarray([0.0, 1.0], jnp.float32))
    assert jnp.isfinite(x).all()
    assert jnp.isfinite(log_det)
    u, log_det = layer.inverse_and_log_det(jnp.asarray([-1e4, 1e4], jnp.float32))
    assert ((u > 0) & (u < 1)).all()
    assert jnp.isfinite(log_det)


def test_inverse_cdf_of_a_mixture_and_of_far_or_tiny_scales():
    """The bracket has to grow from 1 to 1e6, and the root finder to resolve 1e-6."""
    u = jnp.linspace(0.001, 0.999, 101)
    layer = InverseCDF(mixture(), (101,))
    x, log_det = layer.forward_and_log_det(u)
    assert jnp.allclose(layer.inverse(x), u, atol=1e-12)
    assert jnp.allclose(log_det, -jax.vmap(mixture().log_prob)(x).sum())
    for loc, scale in ((1e6, 1.0), (0.0, 1e-6), (-1e5, 1e-3)):
        wide = InverseCDF(distrax.Logistic(jnp.asarray(loc), jnp.asarray(scale)), (101,))
        assert jnp.allclose(wide.forward(u), loc + scale * jnp.log(u / (1 - u)), rtol=1e-13)


def test_inverse_cdf_on_a_half_line():
    gamma = distrax.Gamma(jnp.asarray(2.0), jnp.asarray(1.5))
    layer = InverseCDF(gamma, (3,), support=(0.0, math.inf))
    u = jnp.asarray([1e-6, 0.4, 0.999])
    x = layer.forward(u)
    assert jnp.allclose(x, jnp.asarray(stats.gamma(2.0, scale=1 / 1.5).ppf(u)), rtol=1e-10)


def test_inverse_cdf_gradients_of_the_distribution_are_implicit():
    def draw(loc, scale):
        return InverseCDF(distrax.Normal(loc, scale), ()).forward(jnp.asarray(0.8))

    by_loc, by_scale = jax.grad(draw, argnums=(0, 1))(jnp.asarray(0.3), jnp.asarray(2.0))
    assert jnp.allclose(by_loc, 1.0)
    assert jnp.allclose(by_scale, ndtri(0.8))


def test_inverse_cdf_uses_the_quantile_function_if_there_is_one():
    @jax.tree_util.register_pytree_node_class
    class Exponential:
        def log_prob(self, x):
            return -x

        def log_cdf(self, x):
            return jnp.log(-jnp.expm1(-x))

        def log_survival_function(self, x):
            return -x

        def icdf(self, u):
            return -jnp.log1p(-u)

        def tree_flatten(self):
            return (), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            del aux, children
            return cls()

    layer = InverseCDF(Exponential(), (3,))
    u = jnp.asarray([0.1, 0.5, 0.9])
    x, log_det = layer.forward_and_log_det(u)
    assert jnp.array_equal(x, -jnp.log1p(-u))
    assert jnp.allclose(log_det, x.sum())
    assert jnp.allclose(layer.inverse(x), u)


def test_inverse_cdf_samples_pass_kolmogorov_smirnov():
    u = jax.random.uniform(jax.random.key(0), (COUNT,), jnp.float32)
    x = InverseCDF(mixture(jnp.float32), ()).forward(u)
    w = np.asarray(jax.nn.softmax(jnp.asarray([0.2, -0.5])))

    def cdf(x):
        return w[0] * stats.norm.cdf(x, -3.0, 0.6) + w[1] * stats.norm.cdf(x, 40.0, 1.0)

    assert stats.kstest(np.asarray(x, np.float64), cdf).pvalue > 1e-3


def test_inverse_cdf_refuses_vectors_and_wrong_batches():
    with pytest.raises(ValueError, match="scalars"):
        InverseCDF(distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2)), (2,))
    with pytest.raises(ValueError, match="batch_shape"):
        InverseCDF(distrax.Normal(jnp.zeros(3), jnp.ones(3)), (2,))


# Rosenblatt.


def draw(weights, means, covariances, count, seed):
    rng = np.random.default_rng(seed)
    component = rng.choice(len(weights), count, p=weights)
    factors = np.linalg.cholesky(covariances)[component]
    return means[component] + np.einsum(
        "nij,nj->ni", factors, rng.normal(size=means[component].shape)
    )


def oracle_log_prob(weights, means, covariances, x):
    pairs = zip(weights / weights.sum(), means, covariances, strict=True)
    return np.log(sum(w * stats.multivariate_normal(m, c).pdf(x) for w, m, c in pairs))


def test_rosenblatt_sends_a_mixture_to_independent_uniforms():
    layer = GaussianMixtureRosenblatt(*FULL)
    x = jnp.asarray(draw(*FULL, COUNT, 0), jnp.float32)
    u = np.asarray(jax.jit(layer.inverse)(x), np.float64)
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    z = stats.norm.ppf(u)
    for power in (z, z**2):
        assert abs(np.corrcoef(power.T)[0, 1]) < 3.3 / np.sqrt(COUNT)
    cells, _, _ = np.histogram2d(*u.T, bins=5, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3
    # The test can fail: the coordinates themselves, each made uniform alone, depend on each other.
    ranks = stats.rankdata(np.asarray(x), axis=0) / (COUNT + 1)
    cells, _, _ = np.histogram2d(*ranks.T, bins=5, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.ravel()).pvalue < 1e-6


@pytest.mark.parametrize(
    ("mixture", "covariances"),
    [(FULL, FULL[2]), (DIAGONAL, np.stack([np.diag(v) for v in DIAGONAL[2]]))],
)
def test_rosenblatt_log_det_is_the_log_density_of_the_mixture(mixture, covariances):
    layer = cast(GaussianMixtureRosenblatt(*mixture), jnp.float64)
    x = np.random.default_rng(1).normal(size=(50, mixture[1].shape[1])) * 2
    log_det = jax.jit(layer.inverse_log_det)(jnp.asarray(x))
    # Parameters are stored in float32.
    assert np.allclose(log_det, oracle_log_prob(*mixture[:2], covariances, x), rtol=1e-5, atol=1e-5)


def test_rosenblatt_jacobian_is_triangular():
    layer = cast(GaussianMixtureRosenblatt(*FULL), jnp.float64)
    jacobian = jax.jacfwd(layer.inverse)(jnp.asarray([0.3, -0.2]))
    assert jacobian[0, 1] == 0
    assert (jnp.diagonal(jacobian) > 0).all()
    assert jacobian[1, 0] != 0


def test_rosenblatt_flow_over_a_uniform_base_is_the_mixture():
    base = dgm.distributions.IID(distrax.Uniform(jnp.float32(0), jnp.float32(1)), (2,))
    flow = dgm.Flow(GaussianMixtureRosenblatt(*FULL), base)
    x = jax.jit(lambda flow: flow.sample(seed=jax.random.key(3), sample_shape=(COUNT,)))(flow)
    assert jnp.isfinite(x).all()
    for i in range(2):
        scales = np.sqrt(FULL[2][:, i, i])

        def cdf(x, i=i, scales=scales):
            pairs = zip(FULL[0], FULL[1][:, i], scales, strict=True)
            return sum(w * stats.norm.cdf(x, m, s) for w, m, s in pairs)

        assert stats.kstest(np.asarray(x[:, i], np.float64), cdf).pvalue > 1e-3


def test_rosenblatt_is_finite_far_away():
    layer = GaussianMixtureRosenblatt(*FULL)
    x = jnp.asarray([[1e4, -1e4], [-1e4, 50.0], [30.0, 30.0]], jnp.float32)

    def total(layer):
        u, log_det = layer.inverse_and_log_det(x)
        return u.sum() + log_det.sum(), (u, log_det)

    gradient, (u, log_det) = jax.grad(total, has_aux=True)(layer)
    assert ((u > 0) & (u < 1)).all()
    assert jnp.isfinite(log_det).all()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "message"),
    [
        ([1.0], [[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], "weights"),
        ([0.0, 1.0], [[0.0], [1.0]], [[1.0], [1.0]], "positive"),
        ([1.0], [[0.0, 0.0]], [[[1.0]]], "covariances"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]], "positive definite"),
        ([1.0], [[0.0, 0.0]], [[1.0, -1.0]], "positive definite"),
    ],
)
def test_rosenblatt_refuses_bad_mixtures(weights, means, covariances, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixtureRosenblatt(weights, means, covariances)


def test_rosenblatt_is_saved_and_loaded(tmp_path):
    flow = dgm.Flow(dgm.Inverse(GaussianMixtureRosenblatt(*FULL)))
    dgm.save(tmp_path / "model", flow)
    again = dgm.load(tmp_path / "model")
    for field in ("logits", "means", "log_diagonal", "lower"):
        saved, loaded = (getattr(f.bijector.layer, field)[...] for f in (flow, again))
        assert jnp.array_equal(saved, loaded)
