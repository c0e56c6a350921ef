"""Values of maps, densities and settings, worked out by hand."""

import importlib
import math
import types

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgmjax import bijectors, densities, distributions, layers
from dgmjax.nets.lipschitz import LipschitzMLP
from dgmjax.numerics.moments import standard_error
from dgmjax.numerics.tails import log_tails
from dgmjax.testing import cast, scramble


def test_logit_sends_the_ends_and_the_middle_where_alpha_says():
    """With alpha = 1/5 the ends are the probabilities 1/5 and 4/5, and 5 levels share the 3/5 between them."""
    x = jnp.array([0.0, 2.5, 5.0])
    z, log_derivative = bijectors.logit_inverse(x, 5.0, 0.2)
    np.testing.assert_allclose(z, [-math.log(4.0), 0.0, math.log(4.0)], atol=1e-14)
    # dp/dx = 3/25, and dz/dp = 1 / (p (1 - p)).
    slopes = [0.12 / 0.16, 0.12 / 0.25, 0.12 / 0.16]
    np.testing.assert_allclose(log_derivative, np.log(slopes), atol=1e-14)
    back, log_derivative = bijectors.logit_forward(z, 5.0, 0.2)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(log_derivative, -np.log(slopes), atol=1e-14)


SCALES = {
    "tanh": (1.0, math.exp(2.0 * math.tanh(0.5))),
    "sigmoid": (1.0 / (1.0 + math.exp(-2.0)), 1.0 / (1.0 + math.exp(-3.0))),
    "double_sigmoid": (1.0, 2.0 / (1.0 + math.exp(-1.0))),
    "softplus": (1.0, math.log(1.0 + math.e * (math.e - 1.0))),
    "exp": (1.0, math.e),
}


@pytest.mark.parametrize("name", SCALES)
def test_scales_at_zero_and_one(name):
    log_scale = bijectors.scale_fn(name)(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(jnp.exp(log_scale), SCALES[name], rtol=1e-14)


def test_amortised_parameters_are_the_base_and_the_next_outputs_of_the_network():
    base = {
        "a": jnp.array([10.0, 20.0]),
        "b": jnp.array(30.0),
        "c": jnp.array([[40.0, 50.0], [60.0, 70.0]]),
    }
    parameters = layers.AmortizedParameters(
        base,
        context_shape=(1,),
        make_conditioner=lambda _, shape: (
            lambda context: context @ jnp.arange(1.0, 1.0 + shape[0])[None]
        ),
    )
    found = parameters(jnp.array([[0.0], [1.0]]))
    np.testing.assert_array_equal(found["a"], [[10.0, 20.0], [11.0, 22.0]])
    np.testing.assert_array_equal(found["b"], [30.0, 33.0])
    np.testing.assert_array_equal(found["c"][1], [[44.0, 55.0], [66.0, 77.0]])


def test_normal_density_and_divergences():
    log_prob = densities.normal_log_prob(jnp.array(3.0), 1.0, math.log(2.0))
    expected = -0.5 - math.log(2.0) - 0.5 * math.log(2.0 * math.pi)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-14)
    # KL(N(1, 1) || N(0, 4)) = log 2 + (1 + 1) / 8 - 1 / 2.
    kl = densities.normal_kl(jnp.array(1.0), 0.0, 0.0, math.log(2.0))
    np.testing.assert_allclose(kl, math.log(2.0) - 0.25, rtol=1e-14)
    tril = jnp.array([[1.0, 0.0], [3.0, 2.0]])
    # Of the covariance [[1, 3], [3, 13]]: trace 14, determinant 4.
    kl = densities.tril_normal_kl_standard(jnp.array([1.0, 0.0]), tril)
    np.testing.assert_allclose(kl, 0.5 * (14.0 + 1.0 - 2.0 - math.log(4.0)), rtol=1e-14)
    # L^-1 (2, 0) = (2, -3).
    log_prob = densities.tril_normal_log_prob(jnp.array([3.0, 0.0]), jnp.array([1.0, 0.0]), tril)
    expected = -0.5 * 13.0 - math.log(2.0) - math.log(2.0 * math.pi)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-14)


def test_standard_error_divides_by_the_root_of_n():
    assert standard_error([1.0, 3.0, 1.0, 3.0]) == pytest.approx(0.5)
    assert math.isnan(standard_error([1.0]))


def test_tails_of_a_mixture_are_those_of_its_components_with_normalized_weights():
    components = distrax.Normal(jnp.array([-1.0, 1.0]), jnp.array([2.0, 2.0]))
    weights = types.SimpleNamespace(logits=jnp.array([0.0, 0.0]))
    mixture = types.SimpleNamespace(
        mixture_distribution=weights, components_distribution=components
    )
    for tail in log_tails(mixture, jnp.array([0.0])):
        np.testing.assert_allclose(tail, -math.log(2.0), atol=1e-14)


def test_mass_of_a_histogram_is_a_smoothed_frequency():
    mass = bijectors.histogram_mass(jnp.array([[0], [0], [1]]), 3, pseudo_count=0.5)
    np.testing.assert_allclose(mass, [[2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5]], rtol=1e-6)


def test_triangles_of_sylvester_flows_take_the_two_halves_of_the_matrix():
    matrix, diagonal = jnp.array([[0.0, 2.0], [3.0, 0.0]]), jnp.array([5.0, 7.0])
    r1, r2 = bijectors.sylvester_triangles(matrix, diagonal)
    np.testing.assert_allclose(r1, [[0.0, 2.0], [0.0, 0.0]], atol=1e-14)
    np.testing.assert_allclose(r2, [[5.0, 3.0], [0.0, 7.0]], atol=1e-14)


def test_the_ends_of_a_bounded_support_are_numbers_inside():
    layer = layers.InverseCDF(distrax.Uniform(jnp.array(0.0), jnp.array(2.0)), (1,), support=(0, 2))
    x = layer.forward(jnp.array([[0.0], [0.25], [1.0]]))
    assert 0.0 < x[0, 0] < 1e-10
    np.testing.assert_allclose(x[1:, 0], [0.5, 2.0], rtol=1e-9)
    assert x[2, 0] < 2.0


def test_moments_of_a_prior_are_mean_and_log_scale_of_a_channel():
    prior = layers.ConditionalAffine((2,), rngs=nnx.Rngs(0))
    prior.moments[...] = jnp.array([[1.0, math.log(2.0)], [-3.0, 0.0]], jnp.float32)
    x = prior.forward(jnp.ones(2, jnp.float32))
    np.testing.assert_allclose(x, [3.0, -2.0], rtol=1e-6)


def test_a_conditional_gaussian_bounds_its_log_scale_and_is_the_identity_near_zero():
    class Same(nnx.Module):
        def __call__(self, context):
            return jnp.stack([jnp.zeros_like(context), context], -1)

    density = distributions.ConditionalGaussian((1,), (1,), Same())
    value, raw = jnp.zeros((3, 1)), jnp.array([[0.01], [7.0], [1e6]])
    log_scale = -density.log_prob(value, raw) - 0.5 * math.log(2.0 * math.pi)
    np.testing.assert_allclose(log_scale, [0.01, 7.0 * math.tanh(1.0), 7.0], rtol=1e-5)


def test_a_radial_flow_keeps_its_centre():
    layer = layers.Radial((3,), rngs=nnx.Rngs(0))
    layer.parameters.base["raw_beta"][...] = jnp.ones((), jnp.float32)
    centre = layer.parameters.base["center"][...]
    np.testing.assert_allclose(layer.forward(centre), centre, rtol=1e-6)
    assert not np.allclose(layer.forward(centre + 1.0), centre + 1.0)


def test_gaussian_noise_has_the_density_of_its_scale():
    noise = distributions.GaussianNoise((2,), scale=3.0)
    y = jnp.array([[1, 4]])
    x, log_q = noise.dequantize(y, seed=jax.random.key(0), dtype=jnp.float64)
    expected = jax.scipy.stats.norm.logpdf(x, jnp.array([[1.5, 4.5]]), 3.0).sum(-1)
    np.testing.assert_allclose(log_q, expected, rtol=1e-12)


def test_noise_sees_levels_as_the_middles_of_their_bins_around_zero():
    class Same(nnx.Module):
        def __call__(self, context):
            return jnp.stack([context, jnp.full_like(context, -30.0)], -1).reshape(
                *context.shape[:-1], -1
            )

    prior = layers.ConditionalAffine((1,), context_shape=(1,), net=Same(), rngs=nnx.Rngs(0))
    flow = distributions.Flow(
        layers.Chain([layers.Elementwise(bijectors.SigmoidTransformer(), (1,)), prior])
    )
    noise = distributions.VariationalDequantization(flow, 4)
    u, _ = noise.noise(jnp.array([[0], [3]]), seed=jax.random.key(0), dtype=jnp.float32)
    seen = jnp.log(u) - jnp.log1p(-u)
    np.testing.assert_allclose(seen, [[-0.375], [0.375]], rtol=1e-5)


def test_a_residual_layer_hands_its_settings_to_the_roulette():
    net = scramble(LipschitzMLP(2, 2, width=4, depth=1, rngs=nnx.Rngs(0)), jax.random.key(2))
    settings = {"num_terms": 1, "stop_probability": 0.05}
    layer = layers.Residual((2,), net, log_det="unbiased", **settings)
    x = jax.random.normal(jax.random.key(0), (5, 2), jnp.float32)
    key = jax.random.split(jax.random.key(1), 5)
    _, log_det = layer.inverse_and_log_det(x, key=key)
    normalized = net.normalized()
    expected = bijectors.russian_roulette_log_det(
        lambda x, net: net(x), normalized, x, key, **settings
    )
    np.testing.assert_allclose(log_det, expected, rtol=1e-5)


def test_masses_keep_their_digits_in_both_tails():
    """A logistic 200 scales away has the mass ``e^-200 (e^0.5 - e^-0.5)``: float32 holds its logarithm only."""
    levels = jnp.array([1.0, 401.0], jnp.float32)
    log_prob = densities.discretized_log_prob(
        lambda y: jax.nn.log_sigmoid(y - 201.0),
        lambda y: jax.nn.log_sigmoid(201.0 - y),
        levels,
        403,
    )
    expected = -200.0 + math.log(math.exp(0.5) - math.exp(-0.5))
    np.testing.assert_allclose(log_prob, [expected, expected], rtol=1e-5)


def test_at_temperature_zero_the_likeliest_level_is_drawn():
    params = jnp.tile(jnp.array([0.0, 0.3, 0.1]), (64, 1))
    drawn = densities.categorical_pixel_sample(jax.random.key(0), 3, params, 1, temperature=0.0)
    np.testing.assert_array_equal(drawn, 1)


def test_the_third_channel_follows_both_others():
    params = jax.random.normal(jax.random.key(0), (densities.rgb_mixture_num_params(3, 1),))
    _, means, _, coefficients = densities.rgb_mixture(params, 3)
    (m0, m1, m2), (c0, c1, c2) = np.asarray(means)[:, 0], np.asarray(coefficients)[:, 0]

    def level(x):
        return float(np.clip(np.round(127.5 * (x + 1.0)), 0, 255))

    red = level(m0)
    green = level(m1 + c0 * (red / 127.5 - 1.0))
    blue = level(m2 + c1 * (red / 127.5 - 1.0) + c2 * (green / 127.5 - 1.0))
    drawn = densities.rgb_mixture_sample(jax.random.key(1), 256, params, 3, temperature=0.0)
    np.testing.assert_array_equal(drawn, [red, green, blue])
    assert 0 < blue < 255
    assert abs(c0 - c1) > 0.1


def test_features_of_a_classifier_are_means_over_its_pixels():
    pooled = importlib.import_module("dgmjax.models.classifier")._pooled
    image = jnp.array([[[2.0], [-1.0]], [[4.0], [0.0]]])
    np.testing.assert_allclose(pooled(image), [1.5])


def test_log_determinants_of_16_bits_are_summed_in_32():
    layer = cast(layers.DiagonalLinear((2,)), jnp.bfloat16)
    _, log_det = layer.inverse_and_log_det(jnp.ones((3, 2), jnp.bfloat16))
    assert log_det.dtype == jnp.float32
