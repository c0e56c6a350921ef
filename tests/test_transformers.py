"""Facts about mixtures of logistics, their discretization, and the monotone transformers."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from dgmjax.bijectors.mixture_cdf import MixtureCDFTransformer
from dgmjax.bijectors.spline import SplineTransformer
from dgmjax.densities.discretized_mixture import (
    discretized_log_prob,
    discretized_logistic_mixture_log_prob,
)
from dgmjax.densities.logistic_mixture import (
    logistic_mixture_logit_cdf,
    logistic_mixture_logit_icdf,
)

MIXTURE = tuple(
    jnp.asarray(a) for a in ([0.3, -0.5, 1.0], [-2.0, 0.5, 3.0], [-0.5, 0.2, 0.0])
)  # logits, means, log-scales
WILD = tuple(jnp.asarray(a) for a in ([5.0, -5.0, 0.0], [-100.0, 0.0, 50.0], [-7.0, 3.0, 0.0]))
NARROW = tuple(jnp.asarray(a) for a in ([0.0, 0.0], [-10.0, 10.0], [-7.0, -7.0]))


def as_dtype(parameters, dtype):
    return tuple(a.astype(dtype) for a in parameters)


def test_the_logit_of_the_cdf_has_the_derivative_that_it_says_and_the_density_of_distrax():
    x = jnp.linspace(-60.0, 60.0, 20001)
    logit, log_slope = logistic_mixture_logit_cdf(x, *MIXTURE)
    slope = jax.vmap(jax.grad(lambda x: logistic_mixture_logit_cdf(x, *MIXTURE)[0]))(x)
    assert jnp.allclose(slope, jnp.exp(log_slope), rtol=1e-9, atol=1e-14)
    logits, means, log_scales = MIXTURE
    oracle = distrax.MixtureSameFamily(
        distrax.Categorical(logits), distrax.Logistic(means, jnp.exp(log_scales))
    )
    log_prob = log_slope + jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit)
    assert jnp.allclose(log_prob, jax.vmap(oracle.log_prob)(x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("parameters", [MIXTURE, WILD, NARROW])
def test_values_and_gradients_are_finite_at_extremes(parameters, dtype):
    x = jnp.asarray([-1e4, -100.0, 0.0, 1.0, 1e4], dtype)
    parameters = as_dtype(parameters, dtype)
    for function in (
        lambda *args: logistic_mixture_logit_cdf(*args)[0],
        lambda *args: logistic_mixture_logit_cdf(*args)[1],
    ):
        value, pull = jax.vjp(function, x, *parameters)
        assert value.dtype == dtype
        assert jnp.isfinite(value).all()
        for gradient in pull(jnp.ones_like(value)):
            assert jnp.isfinite(gradient).all()


def test_both_tails_keep_their_digits():
    """In float32 a naive ``log(1 - cdf)`` is -inf from 17 scales on."""
    x = jnp.asarray([-80.0, -30.0, 30.0, 80.0], jnp.float32)
    single = as_dtype((jnp.zeros(1), jnp.zeros(1), jnp.zeros(1)), jnp.float32)
    logit, log_slope = logistic_mixture_logit_cdf(x, *single)
    assert jnp.allclose(logit, x)
    assert jnp.allclose(log_slope, jnp.zeros_like(x), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.float64, 1e-10)], ids=["f32", "f64"]
)
def test_quantiles_invert_the_cdf(dtype, tolerance):
    parameters = as_dtype(MIXTURE, dtype)
    x = jnp.linspace(-12.0, 12.0, 101).astype(dtype)
    logit, _ = logistic_mixture_logit_cdf(x, *parameters)
    back = logistic_mixture_logit_icdf(logit, *parameters)
    assert back.dtype == dtype
    assert jnp.allclose(back, x, rtol=tolerance, atol=tolerance)
    ends = jnp.asarray([-jnp.inf, jnp.inf], dtype)
    assert jnp.array_equal(logistic_mixture_logit_icdf(ends, *parameters), ends)


@pytest.mark.parametrize("parameters", [WILD, NARROW])
def test_quantiles_solve_the_equation_where_newton_alone_fails(parameters):
    y = jnp.asarray([-1e4, -50.0, -1e-3, 2.0, 50.0, 1e4])
    x = logistic_mixture_logit_icdf(y, *parameters)
    # The nearest floats on both sides of the root bracket the target.
    width = 1e-13 * (1.0 + jnp.abs(x))
    below, _ = logistic_mixture_logit_cdf(x - width, *parameters)
    above, _ = logistic_mixture_logit_cdf(x + width, *parameters)
    slack = 1e-12 * (1.0 + jnp.abs(y))
    assert (below <= y + slack).all()
    assert (above >= y - slack).all()


def test_implicit_gradients_agree_with_differences_in_both_modes():
    sizes = np.cumsum([1, 3, 3])

    @jax.jit
    def quantile(flat):
        y, *parameters = jnp.split(flat, sizes)
        return logistic_mixture_logit_icdf(y[0], *parameters)

    point = jnp.concatenate([jnp.asarray([0.7]), *MIXTURE])
    forward, reverse = jax.jit(lambda p: (jax.jacfwd(quantile)(p), jax.jacrev(quantile)(p)))(point)
    assert jnp.allclose(forward, reverse, atol=1e-12)
    moves = 1e-5 * jnp.eye(10)
    differences = [(quantile(point + h) - quantile(point - h)) / 2e-5 for h in moves]
    assert jnp.allclose(forward, jnp.stack(differences), atol=1e-7)


EXTREMES = [(m, s) for m in (-1e4, 0.5, 3.2, 1e4) for s in (-50.0, -7.0, 0.0, 7.0, 30.0)]


def test_discretized_mixture_masses_sum_to_one():
    means, log_scales = (jnp.asarray(a) for a in zip(*EXTREMES, strict=True))
    means = jnp.stack([means, means + 3.0], -1)
    log_scales = jnp.stack([log_scales, log_scales + 1.0], -1)
    logits = jnp.broadcast_to(jnp.asarray([0.0, 1.0]), means.shape)
    y = jnp.arange(8)[:, None]
    log_mass = discretized_logistic_mixture_log_prob(y, 8, logits, means, log_scales)
    assert log_mass.shape == (8, len(EXTREMES))
    assert jnp.isfinite(log_mass).all()
    assert jnp.allclose(jnp.exp(log_mass).sum(0), 1.0, rtol=0, atol=1e-12)
    outside = discretized_logistic_mixture_log_prob(
        jnp.asarray([-1, 8]), 8, logits[0], means[0], log_scales[0]
    )
    assert (outside == -jnp.inf).all()


def test_discretized_mixture_is_finite_in_float32_with_its_gradients():
    means, log_scales = (jnp.asarray(a, jnp.float32)[:, None] for a in zip(*EXTREMES, strict=True))
    y = jnp.arange(8)[:, None]

    def total(means, log_scales):
        return discretized_logistic_mixture_log_prob(
            y, 8, jnp.zeros_like(means), means, log_scales
        ).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1))(means, log_scales)
    assert value.dtype == jnp.float32
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(g).all() for g in gradients)


def test_generic_discretization_agrees_with_the_mixture():
    def logit(x):
        return logistic_mixture_logit_cdf(x, *MIXTURE)[0]

    def log_cdf(x):
        return jax.nn.log_sigmoid(logit(x))

    def log_sf(x):
        return jax.nn.log_sigmoid(-logit(x))

    generic = discretized_log_prob(log_cdf, log_sf, jnp.arange(64.0), 64)
    exact = discretized_logistic_mixture_log_prob(jnp.arange(64), 64, *MIXTURE)
    assert jnp.allclose(generic, exact, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mean", [-1e3, 0.5, 100.0, 1e3])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_discretized_normal_masses_sum_to_one(mean, scale):
    log_mass = discretized_log_prob(
        lambda x: norm.logcdf(x, mean, scale),
        lambda x: norm.logsf(x, mean, scale),
        jnp.arange(256.0),
        256,
    )
    assert jnp.allclose(jnp.exp(log_mass).sum(), 1.0, rtol=0, atol=1e-12)


def test_discretization_refuses_integers_and_single_levels():
    with pytest.raises(TypeError, match="floating dtype"):
        discretized_log_prob(norm.logcdf, norm.logsf, jnp.arange(4), 4)
    with pytest.raises(ValueError, match="at least 2"):
        discretized_logistic_mixture_log_prob(jnp.arange(1), 1, *MIXTURE)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.float64, 1e-10)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("transformer", [MixtureCDFTransformer(5), SplineTransformer(6)])
def test_round_trip_at_extreme_inputs(transformer, dtype, tolerance):
    z = jnp.concatenate([jnp.linspace(-8.0, 8.0, 50), jnp.asarray([-1e4, -3.0, 3.0, 1e4])])
    z = z.astype(dtype)
    params = 0.5 * jax.random.normal(jax.random.key(0), (*z.shape, transformer.num_params), dtype)
    x, forward_log = transformer.forward(z, params)
    back, inverse_log = transformer.inverse(x, params)
    assert jnp.allclose(back, z, rtol=tolerance, atol=tolerance)
    assert jnp.allclose(forward_log, -inverse_log, rtol=10 * tolerance, atol=10 * tolerance)


def test_zero_parameters_of_the_mixture_cdf_are_near_the_identity():
    x = jnp.linspace(-20.0, 20.0, 201)
    for count in (1, 2, 8, 32):
        transformer = MixtureCDFTransformer(count)
        z, log_derivative = transformer.inverse(x, jnp.zeros((*x.shape, transformer.num_params)))
        assert jnp.abs(z - x).max() < (0.2 if count > 1 else 1e-12)
        assert (log_derivative <= 1e-12).all()
        assert (log_derivative > np.log(0.88)).all()


def test_zero_parameters_do_not_tie_the_components():
    transformer = MixtureCDFTransformer(3)
    gradient = jax.grad(lambda p: transformer.inverse(jnp.asarray(0.8), p)[1])(
        jnp.zeros(transformer.num_params)
    )
    for part in jnp.split(gradient[2:], 3):
        assert len(set(np.asarray(part).tolist())) == 3


def test_log_scales_of_components_have_a_floor():
    transformer = MixtureCDFTransformer(1)
    x = jnp.asarray([0.3])
    at_floor = transformer.inverse(x, jnp.asarray([[0.0, 0.0, 0.0, 0.0, -7.0]]))
    below = transformer.inverse(x, jnp.asarray([[0.0, 0.0, 0.0, 0.0, -90.0]]))
    assert jnp.array_equal(at_floor[0], below[0])
    assert jnp.allclose(at_floor[0], 0.3 * np.exp(7.0), rtol=1e-12)


def test_components_of_zero_parameters_lie_in_the_middle_of_equal_parts():
    """Two parts of (-1, 1) have their middles at -1/2 and 1/2."""
    transformer = MixtureCDFTransformer(2)
    z, _ = transformer.inverse(jnp.asarray(1.0), jnp.zeros(transformer.num_params))
    masses = 1 / (1 + np.exp([-1.5, -0.5]))
    assert jnp.allclose(z, np.log(masses.sum() / (2 - masses.sum())), rtol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_spline_agrees_with_distrax(scale):
    bound, bins = 2.5, 6
    transformer = SplineTransformer(bins, bound)
    z = jnp.linspace(-2.49, 2.49, 73)
    params = scale * jax.random.normal(jax.random.key(1), (*z.shape, transformer.num_params))
    end = jnp.zeros_like(params[:, :1])
    oracle = distrax.RationalQuadraticSpline(
        jnp.concatenate([params[:, : 2 * bins], end, params[:, 2 * bins :], end], -1),
        -bound,
        bound,
        boundary_slopes="identity",
        min_bin_size=2 * bound * transformer.min_bin,
        min_knot_slope=transformer.min_derivative,
    )
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected_x, expected_log = oracle.forward_and_log_det(z)
        expected_z, expected_inverse_log = oracle.inverse_and_log_det(z)
    x, log_derivative = transformer.forward(z, params)
    assert jnp.allclose(x, expected_x, atol=1e-9)
    assert jnp.allclose(log_derivative, expected_log, atol=1e-9)
    back, inverse_log = transformer.inverse(z, params)
    assert jnp.allclose(back, expected_z, atol=1e-8)
    assert jnp.allclose(inverse_log, expected_inverse_log, atol=1e-7)


def test_spline_is_the_identity_outside_and_at_zero_parameters():
    transformer = SplineTransformer(4, bound=2.0)
    z = jnp.asarray([-50.0, -2.0, 2.0, 2.5, 1e4])
    params = jax.random.normal(jax.random.key(2), (*z.shape, transformer.num_params))
    for direction in (transformer.forward, transformer.inverse):
        out, log_derivative = direction(z, params)
        assert jnp.array_equal(out, z)
        assert jnp.array_equal(log_derivative, jnp.zeros_like(z))
        inside = jnp.linspace(-2.0, 2.0, 41)
        out, log_derivative = direction(inside, jnp.zeros((41, transformer.num_params)))
        assert jnp.allclose(out, inside, atol=1e-14)
        assert jnp.allclose(log_derivative, jnp.zeros_like(out), atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
@pytest.mark.one_in(3)
def test_spline_stays_finite_and_monotone_at_wild_parameters(scale):
    transformer = SplineTransformer(5)
    params = scale * jax.random.normal(jax.random.key(3), (1, transformer.num_params), jnp.float32)
    z = jnp.linspace(-3.5, 3.5, 2001, dtype=jnp.float32)
    params = jnp.broadcast_to(params, (2001, transformer.num_params))
    for direction in (transformer.forward, transformer.inverse):
        (out, log_derivative), pull = jax.vjp(direction, z, params)
        assert jnp.isfinite(log_derivative).all()
        assert (jnp.diff(out) >= -1e-5).all()
        for gradient in pull((jnp.ones_like(z), jnp.ones_like(z))):
            assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixtureCDFTransformer(0), "num_components"),
        (lambda: MixtureCDFTransformer(2, "none"), "scale_fn"),
        (lambda: SplineTransformer(0), "num_bins"),
        (lambda: SplineTransformer(3, bound=0.0), "bound"),
        (lambda: SplineTransformer(1000), "min_bin"),
        (lambda: SplineTransformer(3, min_derivative=1.0), "min_derivative"),
    ],
)
def test_bad_arguments_are_refused_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()
