"""Residual flows: spectral norms, the fixed point, and the log-determinant estimators, beyond the laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.bijectors.residual import (
    exact_log_det,
    russian_roulette_log_det,
    truncated_log_det,
)
from dgmjax.layers.residual import Residual
from dgmjax.models.residual_flow import ResidualFlow
from dgmjax.nets.lipschitz import LipschitzConv, LipschitzMLP, lipswish
from dgmjax.numerics.fixed_point import residual_fixed_point
from dgmjax.numerics.spectral import (
    conv_power_iteration,
    dense_power_iteration,
    dense_spectral_norm,
    same_conv,
    spectral_init,
    spectral_normalize,
)
from dgmjax.testing import cast, scramble

KEY = jax.random.key(0)


def branch(x, weight):
    """A contraction for ``|weight| < 1`` in the spectral norm."""
    return jnp.sin(x @ weight)


def weight_of_norm(norm, size=3, dtype=jnp.float64):
    weight = np.random.RandomState(0).normal(size=(size, size))
    return jnp.asarray(norm * weight / np.linalg.norm(weight, 2), dtype)


def linear(x, factor):
    return factor * x


def norms(kernels):
    return np.array([np.linalg.norm(np.asarray(kernel), 2) for kernel in kernels])


def conv_matrix(kernel, height, width):
    size = height * width * kernel.shape[2]
    basis = jnp.eye(size, dtype=kernel.dtype).reshape(size, height, width, kernel.shape[2])
    return np.asarray(same_conv(basis, kernel)).reshape(size, -1)


@jax.jit
def there_and_back(layer, x, context):
    return layer.forward(layer.inverse(x, context), context)


# Spectral norms.


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 6)])
def test_dense_norms_are_those_of_the_svd(shape):
    kernel = jax.random.normal(KEY, shape)
    exact = np.linalg.norm(np.asarray(kernel), 2)
    np.testing.assert_allclose(dense_spectral_norm(kernel), exact, rtol=1e-12)
    orthogonal = np.linalg.qr(np.asarray(kernel))[0]  # all singular values are equal
    np.testing.assert_allclose(dense_spectral_norm(jnp.asarray(orthogonal)), 1.0, rtol=1e-12)
    u = spectral_init(KEY, shape[1:]).astype(kernel.dtype)
    u, sigma = dense_power_iteration(kernel, u, num_steps=300)
    np.testing.assert_allclose(sigma, exact, rtol=1e-10)
    # The state is worth keeping: a single further step is as good.
    np.testing.assert_allclose(dense_power_iteration(kernel, u, num_steps=1)[1], exact, rtol=1e-10)


def test_conv_norm_is_that_of_the_operator_not_of_the_reshaped_kernel():
    kernel = jnp.abs(jax.random.normal(KEY, (3, 3, 2, 4)))
    u = spectral_init(KEY, (4, 5, 4)).astype(kernel.dtype)
    _, sigma = conv_power_iteration(kernel, u, num_steps=300)
    np.testing.assert_allclose(sigma, np.linalg.norm(conv_matrix(kernel, 4, 5), 2), rtol=1e-9)
    assert sigma > 1.2 * np.linalg.norm(np.asarray(kernel).reshape(-1, 4), 2)
    normal = spectral_normalize(kernel, sigma, 0.9)
    assert np.linalg.norm(conv_matrix(normal, 4, 5), 2) <= 0.9 * (1 + 1e-9)


def test_gradients_of_norms_are_those_of_the_largest_singular_value():
    kernel = jax.random.normal(KEY, (4, 3))
    expected = jax.grad(lambda kernel: jnp.linalg.norm(kernel, 2))(kernel)
    np.testing.assert_allclose(jax.grad(dense_spectral_norm)(kernel), expected, atol=1e-10)
    u = jnp.ones(3) / 3**0.5
    sigma = lambda kernel: dense_power_iteration(kernel, u, num_steps=200)[1]  # noqa: E731
    np.testing.assert_allclose(jax.grad(sigma)(kernel), expected, atol=1e-8)


def test_small_norms_stay_and_a_zero_kernel_is_harmless():
    kernel = 0.1 * jnp.eye(3)
    sigma = dense_spectral_norm(kernel)
    assert jnp.array_equal(spectral_normalize(kernel, sigma, 0.9), kernel)

    def loss(kernel):
        _, by_steps = dense_power_iteration(kernel, jnp.ones(3), num_steps=3)
        both = spectral_normalize(kernel, dense_spectral_norm(kernel) + by_steps, 0.9)
        return both.sum()

    np.testing.assert_allclose(jax.grad(loss)(jnp.zeros((3, 3))), np.ones((3, 3)))
    with pytest.raises(ValueError, match="at least 1"):
        dense_power_iteration(kernel, jnp.ones(3), num_steps=0)


# Lipschitz networks.


def test_lipswish_is_1_lipschitz_and_nearly_attains_it():
    beta = jnp.linspace(-20.0, 20.0, 41)[:, None]
    x = jnp.linspace(-30.0, 30.0, 6001)[None] / jax.nn.softplus(beta)
    slope = jax.vmap(jax.vmap(jax.grad(lipswish), (0, None)))(x, beta[:, 0])
    assert (jnp.abs(slope) < 1.0).all()
    assert (slope.max(1) > 0.999).all()


@pytest.mark.parametrize("seed", range(2))
def test_the_bound_holds_after_any_update(seed):
    """D3-24 by SVD: no state can lag behind the weights."""
    net = LipschitzMLP(3, 3, width=16, depth=2, context_size=2, rngs=nnx.Rngs(seed))
    wild = scramble(net, jax.random.key(seed), scale=3.0)
    assert (norms(kernel[...] for kernel in wild.kernels) > 3.0).all()
    normalized = jax.jit(LipschitzMLP.normalized)(wild)
    assert (norms(normalized.kernels) <= 0.97 * (1 + 1e-5)).all()
    layer = cast(Residual((3,), wild, context_shape=(2,)), jnp.float64)
    x, context = jax.random.normal(KEY, (20, 3)), jnp.array([5.0, -3.0])
    np.testing.assert_allclose(there_and_back(layer, x, context), x, atol=1e-10)


def test_the_bound_of_convolutions_holds_for_stale_vectors():
    net = LipschitzConv((4, 5, 2), width=4, rngs=nnx.Rngs(0))
    wild = scramble(net, KEY, scale=3.0)
    updated = wild.with_power_iteration(100)
    for one in (wild, updated):
        for kernel in jax.jit(LipschitzConv.normalized)(one).kernels:
            assert np.linalg.norm(conv_matrix(kernel, 4, 5), 2) <= 0.97 * 1.003
    assert jnp.array_equal(wild.vectors[0], net.vectors[0])
    assert not jnp.array_equal(updated.vectors[0], net.vectors[0])
    layer = Residual((4, 5, 2), wild).with_power_iteration(100)
    assert jnp.array_equal(layer.net.vectors[1], updated.vectors[1])
    params, fixed, _ = dgm.training.partition(layer)
    assert sorted(fixed) == ["net/vectors/0", "net/vectors/1"]  # no optimizer, but checkpoints
    assert not any("vectors" in name for name in params)


def test_what_contracts_is_the_branch_not_the_block():
    """E-D3-5: the printed condition is on F = x + g; it is g that must contract, sufficient, not necessary."""
    net = scramble(LipschitzMLP(3, 3, width=16, rngs=nnx.Rngs(0)), KEY, scale=1.0)
    net = cast(net, jnp.float64)
    a, b = jax.random.normal(KEY, (2, 2000, 3))
    ratio = lambda f: jnp.linalg.norm(f(a) - f(b), axis=1) / jnp.linalg.norm(a - b, axis=1)  # noqa: E731
    branch_ratio, block_ratio = jax.jit(lambda net: (ratio(net), ratio(lambda x: x + net(x))))(net)
    assert branch_ratio.max() <= net.lipschitz_bound
    assert block_ratio.max() > 1.0  # F stretches, and is invertible
    z = jnp.ones((1, 3))
    # F = 0.5 x contracts and so does g; F = 0 contracts, g does not, and no inverse exists.
    np.testing.assert_allclose(residual_fixed_point(linear, -0.5, z), 2.0 * z, atol=1e-12)
    assert jnp.isnan(residual_fixed_point(linear, -1.0, z)).all()
    # F = 4 x is invertible, but not by this iteration; nothing wrong is returned.
    assert jnp.isnan(residual_fixed_point(linear, 3.0, z)).all()


# The fixed point.


@pytest.mark.parametrize(
    ("dtype", "norm", "atol"), [(jnp.float64, 0.95, 1e-10), (jnp.float32, 0.95, 1e-5)]
)
def test_inverse_to_rounding(dtype, norm, atol):
    weight = weight_of_norm(norm, dtype=dtype)
    x = 3.0 * jax.random.normal(KEY, (50, 3), dtype)
    back = residual_fixed_point(branch, weight, x + branch(x, weight))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, x, atol=atol)


def test_an_event_does_not_depend_on_its_neighbours():
    weight = weight_of_norm(0.95)
    z = jnp.array([[1e-3, 2e-3, 0.0], [50.0, -30.0, 10.0], [jnp.nan, 0.0, 0.0]])
    together = residual_fixed_point(branch, weight, z, tolerance=1e-4)
    alone = jnp.stack([residual_fixed_point(branch, weight, row, tolerance=1e-4) for row in z])
    assert jnp.isfinite(together[:2]).all()
    assert jnp.isnan(together[2]).any()
    np.testing.assert_allclose(together[:2], alone[:2], rtol=1e-14)


def unrolled(weight, z, steps=300):
    return jax.lax.scan(lambda x, _: (z - branch(x, weight), None), z, None, length=steps)[0]


def test_gradients_are_implicit_in_both_modes_and_orders():
    weight, z = weight_of_norm(0.8), jax.random.normal(KEY, (3,))
    solve = functools.partial(residual_fixed_point, branch)
    for mode in (jax.jacfwd, jax.jacrev):
        for got, expected in zip(
            jax.jit(mode(solve, (0, 1)))(weight, z),
            jax.jit(mode(unrolled, (0, 1)))(weight, z),
            strict=True,
        ):
            np.testing.assert_allclose(got, expected, atol=1e-10)
    second = lambda f: jax.jit(jax.jacfwd(jax.grad(lambda z: f(weight, z)[0] ** 2)))(z)  # noqa: E731
    np.testing.assert_allclose(second(solve), second(unrolled), atol=1e-9)


# Log-determinants.


def test_truncated_series_approaches_slogdet_at_the_stated_rate():
    weight, x = weight_of_norm(0.8), jax.random.normal(KEY, (5, 3))
    jacobians = jax.vmap(jax.jacfwd(lambda x: x + branch(x, weight)))(x)
    exact = np.linalg.slogdet(np.asarray(jacobians))[1]
    np.testing.assert_allclose(exact_log_det(branch, weight, x), exact, atol=1e-12)
    basis = jnp.broadcast_to(3**0.5 * jnp.eye(3)[:, None], (3, 5, 3))
    for num_terms in (1, 2, 5, 20, 100):
        series = truncated_log_det(branch, weight, x, basis, num_terms=num_terms)
        bound = 3 * 0.8 ** (num_terms + 1) / ((num_terms + 1) * (1 - 0.8))
        assert (np.abs(series - exact) <= bound).all()
    np.testing.assert_allclose(series, exact, atol=1e-9)


def roulette_draws(num_terms):
    weight, x = weight_of_norm(0.75), jnp.array([0.3, -0.4, 0.2])

    def estimate(key, weight, x):
        return russian_roulette_log_det(
            branch, weight, x, key, num_terms=num_terms, stop_probability=0.3
        )

    draws = jax.jit(jax.vmap(jax.value_and_grad(estimate, (1, 2)), (0, None, None)))
    exact = jax.value_and_grad(functools.partial(exact_log_det, branch), (0, 1))(weight, x)
    return exact, draws(jax.random.split(jax.random.key(1), 10_000), weight, x)


def test_roulette_and_its_gradient_are_unbiased():
    """D3-24: the means of 10^4 draws within 3 standard errors, and those small enough to tell."""
    exact, draws = roulette_draws(num_terms=1)
    for value, sample in zip(jax.tree.leaves(exact), jax.tree.leaves(draws), strict=True):
        error = np.std(sample, axis=0) / len(sample) ** 0.5
        assert (np.abs(np.mean(sample, axis=0) - value) <= 3 * error).all()
        assert (error < 0.04).all()


def test_with_a_key_an_event_the_roulette_of_one_does_not_depend_on_the_others():
    weight, x = weight_of_norm(0.75), jax.random.normal(KEY, (4, 2, 3))
    keys = dgm.numerics.prng.example_keys(KEY, 4)
    together = russian_roulette_log_det(branch, weight, x, keys)
    for row, key, value in zip(x, keys, together, strict=True):
        alone = russian_roulette_log_det(branch, weight, row, key)
        np.testing.assert_allclose(alone, value, rtol=1e-10)


def test_the_derivative_of_the_roulette_is_the_same_in_forward_mode():
    weight, x = weight_of_norm(0.75), jax.random.normal(KEY, (4, 3))
    f = functools.partial(russian_roulette_log_det, branch, x=x, key=KEY)
    forward, reverse = jax.jit(lambda weight: (jax.jacfwd(f)(weight), jax.jacrev(f)(weight)))(
        weight
    )
    np.testing.assert_allclose(forward, reverse, atol=1e-12)


def test_memory_of_the_roulette_gradient_does_not_grow_with_the_terms():
    weight, x = weight_of_norm(0.75, size=16), jnp.ones((64, 16))

    def temporaries(estimate, num_terms):
        loss = lambda weight: estimate(weight, num_terms).sum()  # noqa: E731
        compiled = jax.jit(jax.grad(loss)).lower(weight).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def roulette(weight, num_terms):
        return russian_roulette_log_det(branch, weight, x, KEY, num_terms=num_terms)

    def series(weight, num_terms):
        return truncated_log_det(branch, weight, x, x[None], num_terms=num_terms)

    assert temporaries(roulette, 100) <= 1.1 * temporaries(roulette, 2)
    assert temporaries(series, 100) > 3 * temporaries(series, 2)


# The layer and the model.


@pytest.mark.parametrize("log_det", ["exact", "truncated", "unbiased"])
def test_a_key_changes_the_estimate_but_not_the_map(log_det):
    net = scramble(LipschitzMLP(3, 3, width=8, depth=1, rngs=nnx.Rngs(0)), KEY, scale=0.5)
    layer = cast(Residual((3,), net, log_det=log_det), jnp.float64)
    x = jax.random.normal(KEY, (6, 3))
    inverse = jax.jit(lambda layer, x, key: layer.inverse_and_log_det(x, key=key))
    forward = jax.jit(lambda layer, z, key: layer.forward_and_log_det(z, key=key))
    z, exact = inverse(layer, x, None)
    same, estimate = inverse(layer, x, jax.random.key(3))
    np.testing.assert_allclose(same, z, atol=1e-14)
    assert jnp.allclose(exact, estimate, rtol=1e-12) == (log_det == "exact")
    np.testing.assert_allclose(estimate, exact, atol=1.0)
    back, back_estimate = forward(layer, z, jax.random.key(3))
    np.testing.assert_allclose(back, x, atol=1e-10)
    np.testing.assert_allclose(back_estimate, -estimate, atol=1e-9)


def test_a_fresh_flow_is_the_identity_and_survives_saving(tmp_path):
    flow = ResidualFlow(
        (2,), depth=1, width=4, hidden_layers=1, context_shape=(3,), rngs=nnx.Rngs(0)
    )
    x, context = jax.random.normal(KEY, (5, 2), jnp.float32), jnp.ones(3, jnp.float32)
    log_prob = jax.jit(lambda flow: flow.log_prob(x, context))
    np.testing.assert_array_equal(log_prob(flow), flow.base.log_prob(x))
    moved = scramble(flow, KEY)
    dgm.save(tmp_path / "flow", moved)
    loaded = dgm.load(tmp_path / "flow")
    np.testing.assert_array_equal(log_prob(loaded), log_prob(moved))


def test_arguments_out_of_range_are_refused():
    net = LipschitzMLP(2, 2, width=4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="log_det"):
        Residual((2,), net, log_det="hutchinson")
    with pytest.raises(ValueError, match="stop_probability"):
        Residual((2,), net, stop_probability=1.0)
    with pytest.raises(ValueError, match="coefficient"):
        LipschitzMLP(2, 2, width=4, coefficient=1.0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="use LipschitzMLP"):
        LipschitzConv((2,), width=4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="vector event"):
        ResidualFlow((2, 2, 1), rngs=nnx.Rngs(0))
    assert Residual((2,), net).with_power_iteration().net is net
