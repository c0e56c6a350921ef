"""Discrete data: bounds, constants and labels against densities known in closed form."""

import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast

LEVELS = 17


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    return np.random.RandomState(0).binomial(LEVELS - 1, [0.1, 0.5, 0.9], (500, 3))


def histogram_model(y: np.ndarray, dtype: type = jnp.float64) -> dgm.Dequantized:
    layer = dgm.HistogramGaussianize((3,), LEVELS, pseudo_count=0.5)
    model = dgm.Dequantized(dgm.Flow(layer), LEVELS)
    fitted = model.with_data_init(jnp.asarray(y), seed=jax.random.key(0))
    return cast(fitted, dtype)


def test_uniform_density_has_exactly_log2_levels_bits_per_dim():
    """logit of U(0, levels) is a standard logistic: the constant in bits/dim must vanish."""
    logistic = dgm.distributions.IID(distrax.Logistic(jnp.zeros(()), jnp.ones(())), (5,))
    model = dgm.Dequantized(dgm.Flow(dgm.Logit((5,), LEVELS, alpha=0.0), logistic), LEVELS)
    y = jax.random.randint(jax.random.key(0), (20, 5), 0, LEVELS)
    for num_samples in (1, 4):
        likelihood = dgm.log_likelihood(model, y, seed=jax.random.key(1), num_samples=num_samples)
        assert math.isclose(likelihood.bits_per_dim, math.log2(LEVELS), rel_tol=1e-12)
        assert math.isclose(likelihood.negative_log_likelihood, 5 * math.log(LEVELS), rel_tol=1e-12)


def test_a_density_constant_in_every_bin_makes_the_one_sample_bound_exact(counts):
    """The histogram model has P(y) = prod mass[i, y_i] in closed form; the margin alpha is its only excess."""
    model = histogram_model(counts)
    mass = np.stack([np.bincount(column, minlength=LEVELS) for column in counts.T]) + 0.5
    mass /= mass.sum(1, keepdims=True)
    exact = np.log(mass[np.arange(3), counts]).sum(1)
    got = model.log_prob(jnp.asarray(counts), seed=jax.random.key(3))
    # Inside the margin the model keeps 1 - 2 alpha of its mass; mass is stored in float32.
    np.testing.assert_allclose(got, exact + 3 * np.log1p(-2e-6), atol=2e-6)


def test_noise_is_uniform_on_the_half_open_unit_interval():
    noise = dgm.UniformDequantization((1,))
    y = jnp.full((200_000, 1), 16, jnp.uint8)
    x, log_q = noise.dequantize(y, seed=jax.random.key(0), dtype=jnp.float32)
    u = np.asarray(x)[:, 0] - 16.0
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / len(u))
    assert abs(u.var() - 1 / 12) < 1e-3
    np.testing.assert_array_equal(noise.quantize(x, 17), y.astype(np.int32))
    np.testing.assert_array_equal(log_q, np.zeros(len(y), np.float32))


def test_importance_samples_tighten_the_bound_towards_the_exact_value():
    """A logistic density has P(y) = F(y + 1) - F(y) in closed form."""
    base = dgm.distributions.IID(distrax.Logistic(jnp.asarray(3.2), jnp.asarray(0.1)), (1,))
    model = dgm.Dequantized(dgm.Flow(dgm.Standardize((1,)), base), 8)
    model = cast(model, jnp.float64)
    y = jnp.full((4_000, 1), 3)
    exact = math.log(
        float(jax.nn.sigmoid((4 - 3.2) / 0.1)) - float(jax.nn.sigmoid((3 - 3.2) / 0.1))
    )
    means = [
        float(model.log_prob(y, seed=jax.random.key(0), num_samples=k).mean())
        for k in (1, 4, 16, 128)
    ]
    assert means == sorted(means)
    assert means[0] < exact - 0.1
    assert abs(means[-1] - exact) < 0.005


def test_label_travels_with_the_number(counts):
    model = histogram_model(counts)
    one = dgm.log_likelihood(model, jnp.asarray(counts), seed=jax.random.key(0))
    many = dgm.log_likelihood(model, jnp.asarray(counts), seed=jax.random.key(0), num_samples=8)
    flow = dgm.RealNVP((2,), rngs=nnx.Rngs(0))
    exact = dgm.log_likelihood(flow, jnp.zeros((3, 2), jnp.float32))
    assert str(one.bound) == "one-sample bound (uniform dequantization)"
    assert str(many.bound) == "importance-weighted bound, K=8 (uniform dequantization)"
    assert str(exact.bound) == "exact"
    assert str(one).startswith("log-likelihood -")
    assert " bits/dim), " in str(one)
    assert str(one).endswith("one-sample bound (uniform dequantization)")


def test_samples_are_integers_in_range_with_the_right_frequencies(counts):
    model = histogram_model(counts, jnp.float32)
    y = np.asarray(model.sample(seed=jax.random.key(0), sample_shape=(20_000,)))
    assert y.dtype == np.uint8
    assert y.min() >= 0
    assert y.max() <= LEVELS - 1
    got = np.stack([np.bincount(column, minlength=LEVELS) for column in y.T]) / len(y)
    np.testing.assert_allclose(got, model.density.bijector.mass, atol=0.015)


def test_histogram_keeps_all_mass_at_the_closed_end():
    layer = dgm.HistogramGaussianize((1,), 4).with_data_init(jnp.array([[4.0], [0.0], [3.5]]))
    np.testing.assert_allclose(layer.mass.sum(-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(layer.mass[0, 3], 3 / 7, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_extreme_values_of_the_noise_stay_finite(counts, dtype):
    model = histogram_model(counts, dtype)
    edges = jnp.asarray([[0.0, 0.0, 0.0], [LEVELS] * 3, [1e-7, 16.9999, 8.0]], dtype)
    z, log_det = model.density.bijector.inverse_and_log_det(edges)
    assert jnp.isfinite(z).all()
    assert jnp.isfinite(log_det).all()
    np.testing.assert_allclose(model.density.bijector.forward(z), edges, atol=2e-4)


def test_wrong_use_says_what_to_do(counts):
    model = histogram_model(counts)
    with pytest.raises(TypeError, match="expected integer levels, got float64"):
        model.log_prob(jnp.ones((3, 3)), seed=jax.random.key(0))
    with pytest.raises(ValueError, match="draws noise; pass seed="):
        dgm.log_likelihood(model, jnp.asarray(counts))
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        model.log_prob(jnp.asarray(counts), seed=jax.random.key(0), num_samples=0)
    with pytest.raises(ValueError, match="num_levels must be at least 2"):
        dgm.Dequantized(model.density, 1)
