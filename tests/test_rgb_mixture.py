"""Mixtures of discretized logistics of pixels: exact masses, the order of the channels, samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.densities.rgb_mixture import (
    categorical_pixel_log_prob,
    categorical_pixel_sample,
    rgb_mixture,
    rgb_mixture_conditional_log_prob,
    rgb_mixture_log_prob,
    rgb_mixture_num_params,
    rgb_mixture_sample,
)

K = 4


def random_params(channels: int, *batch: int, scale: float = 1.0, seed: int = 0) -> jax.Array:
    shape = (*batch, rgb_mixture_num_params(channels, K))
    return scale * jax.random.normal(jax.random.key(seed), shape, jnp.float64)


def all_pixels(num_levels: int, channels: int) -> jax.Array:
    return jnp.asarray(list(itertools.product(range(num_levels), repeat=channels)))


def test_the_paper_has_100_outputs_a_pixel():
    assert rgb_mixture_num_params(3, 10) == 100
    assert rgb_mixture_num_params(1, 10) == 30
    parts = rgb_mixture(jnp.zeros((5, 100)), 3)
    assert [part.shape for part in parts] == [(5, 10), (5, 3, 10), (5, 3, 10), (5, 3, 10)]


def reference(
    y: np.ndarray, num_levels: int, params: np.ndarray, *, printed: bool = False
) -> float:
    """The formulas of the paper for one RGB pixel, with differences of sigmoids in [-1, 1].

    ``printed`` is the formula of the lecture, a mixture of its own for every channel (erratum E-L7-3).
    """
    half, x = 1.0 / (num_levels - 1), 2.0 * y / (num_levels - 1) - 1.0
    weights = np.exp(params[:K]) / np.exp(params[:K]).sum()
    mu, log_scale, raw = params[K:].reshape(3, 3, K)
    mu = mu + (2 * np.arange(K) + 1) / K - 1
    scale, a = np.maximum(np.exp(log_scale) / K, np.exp(-7.0)), np.tanh(raw)
    means = [mu[0], mu[1] + a[0] * x[0], mu[2] + a[1] * x[0] + a[2] * x[1]]

    def cdf(x, c):
        return 1.0 / (1.0 + np.exp(-(x - means[c]) / scale[c]))

    masses = np.ones((3, K))
    for c in range(3):
        upper = 1.0 if y[c] == num_levels - 1 else cdf(x[c] + half, c)
        masses[c] = upper - (0.0 if y[c] == 0 else cdf(x[c] - half, c))
    if printed:
        return float(np.log((weights * masses).sum(1)).sum())
    return float(np.log((weights * masses.prod(0)).sum()))


def test_the_formulas_of_the_paper():
    params = random_params(3, 40, scale=0.5)
    y = jax.random.randint(jax.random.key(1), (40, 3), 0, 9)
    y = y.at[0].set(0).at[1].set(8)
    got = rgb_mixture_log_prob(y, 9, params)
    rows = list(zip(np.asarray(y), np.asarray(params), strict=True))
    np.testing.assert_allclose(got, [reference(a, 9, p) for a, p in rows], rtol=1e-8)
    printed = np.array([reference(a, 9, p, printed=True) for a, p in rows])
    assert np.abs(got - printed).max() > 0.1


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_masses_of_all_pixels_sum_to_one(channels):
    y = all_pixels(5, channels)
    params = jnp.broadcast_to(
        random_params(channels), (len(y), rgb_mixture_num_params(channels, K))
    )
    assert abs(jnp.exp(rgb_mixture_log_prob(y, 5, params)).sum() - 1.0) < 1e-12


EXTREMES = {
    "random": lambda p: p,
    "scales at the floor": lambda p: p.at[:, 4 * K : 7 * K].set(-1e3),
    "wide scales": lambda p: p.at[:, 4 * K : 7 * K].set(30.0),
    "means far below": lambda p: p.at[:, K : 4 * K].set(-50.0),
    "means far above, scales at the floor": (
        lambda p: p.at[:, K : 4 * K].set(50.0).at[:, 4 * K : 7 * K].set(-1e3)
    ),
    "one component": lambda p: p.at[:, 0].set(1e3),
    "all coefficients at the end": lambda p: p.at[:, 7 * K :].set(-40.0),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_every_conditional_sums_to_one(name):
    params = EXTREMES[name](random_params(3, 6))
    earlier = jax.random.randint(jax.random.key(2), (6, 3), 0, 256)
    for channel in range(3):
        y = jnp.broadcast_to(earlier, (256, 6, 3)).at[:, :, channel].set(jnp.arange(256)[:, None])
        every = jnp.broadcast_to(params, (256, *params.shape))
        conditional = rgb_mixture_conditional_log_prob(y, 256, every)
        np.testing.assert_allclose(jnp.exp(conditional[..., channel]).sum(0), 1.0, atol=1e-12)
        total = rgb_mixture_log_prob(y, 256, every)
        np.testing.assert_allclose(conditional.sum(-1), total, rtol=1e-9)


def test_channels_depend_on_the_channels_before_only():
    params, y = random_params(3), jnp.array([3.0, 6.0, 2.0])
    jacobian = jax.jacfwd(lambda y: rgb_mixture_conditional_log_prob(y, 9, params))(y)
    np.testing.assert_array_equal(jacobian[~np.tri(3, dtype=bool)], 0.0)
    assert (np.abs(jacobian[np.tri(3, dtype=bool)]) > 1e-3).all()


def test_outputs_of_zero_are_nearly_uniform():
    y = jnp.arange(256)[:, None]
    log_p = rgb_mixture_log_prob(y, 256, jnp.zeros((256, 30)))
    assert -(jnp.exp(log_p) * log_p).sum() > 0.97 * np.log(256)


@pytest.mark.parametrize("kind", ["logistic_mixture", "categorical"])
def test_samples_have_the_frequencies_of_the_masses(kind):
    y = all_pixels(3, 2)
    if kind == "categorical":
        params = jax.random.normal(jax.random.key(0), (6,), jnp.float64)
        log_prob, sample = categorical_pixel_log_prob, categorical_pixel_sample
    else:
        params, log_prob, sample = random_params(2), rgb_mixture_log_prob, rgb_mixture_sample
    num = 20_000
    drawn = sample(jax.random.key(3), 3, jnp.broadcast_to(params, (num, *params.shape)), 2)
    assert drawn.dtype == jnp.int32
    p = np.exp(log_prob(y, 3, jnp.broadcast_to(params, (9, *params.shape))))
    assert abs(p.sum() - 1.0) < 1e-12
    counts = np.bincount(np.asarray(drawn) @ [3, 1], minlength=9)
    assert (((counts - num * p) ** 2) / (num * p)).sum() < 35.0  # chi-square of 8 degrees: 3e-5


def test_temperature_zero_is_the_mean_of_the_likeliest_component():
    logits, means = jnp.array([0.0, 2.0]), jnp.array([0.5, 0.0])
    params = jnp.concatenate([logits, means, jnp.zeros(2)])  # centres are -0.5 and 0.5
    for seed in range(3):
        y = rgb_mixture_sample(jax.random.key(seed), 9, params, 1, temperature=0.0)
        assert y == round(0.5 * 8 * (0.5 + 1.0))


def test_what_is_no_level_has_no_mass():
    y = jnp.array([[-1, 0], [0, 5], [0, 0]])
    mixture = rgb_mixture_log_prob(y, 5, random_params(2, 3))
    categorical = categorical_pixel_log_prob(y, 5, jnp.zeros((3, 10)))
    for log_p in (mixture, categorical):
        np.testing.assert_array_equal(jnp.isfinite(log_p), [False, False, True])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_extremes_stay_finite_in_the_dtype_of_the_parameters(dtype):
    params = jnp.stack([random_params(3, scale=10.0**n, seed=n) for n in range(8)]).astype(dtype)
    y = jax.random.randint(jax.random.key(1), (8, 3), 0, 256)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: rgb_mixture_log_prob(y, 256, p).sum()))(
        params
    )
    assert value.dtype == gradient.dtype == dtype
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
    single = jax.vmap(lambda y, p: rgb_mixture_log_prob(y, 256, p))(y, params)
    np.testing.assert_allclose(single.sum(), value, rtol=1e-5)


@pytest.mark.parametrize(
    ("log_prob", "params"),
    [
        (rgb_mixture_log_prob, random_params(3, 4)),
        (categorical_pixel_log_prob, jnp.zeros((4, 768))),
    ],
)
def test_the_levels_of_a_byte_are_bytes(log_prob, params):
    y = jnp.asarray([[0, 1, 255], [255, 128, 0], [127, 129, 3], [254, 0, 255]])
    expected = log_prob(y, 256, params)
    assert jnp.isfinite(expected).all()
    np.testing.assert_allclose(log_prob(y.astype(jnp.uint8), 256, params), expected, rtol=1e-12)


def test_a_wide_logistic_leaves_all_mass_at_the_ends():
    """Of scale ``s`` an inner level has ``1 / (4 s)``, also where ``s`` overflows; a draw is the first or the last."""
    log_scales = jnp.asarray([20.0, 200.0, 1e6], jnp.float32)
    params = jnp.stack([jnp.zeros(3, jnp.float32), jnp.zeros(3, jnp.float32), log_scales], axis=-1)
    y = jnp.broadcast_to(jnp.asarray([0, 7, 255])[:, None, None], (3, 3, 1))
    log_probs = rgb_mixture_log_prob(y, 256, jnp.broadcast_to(params, (3, 3, 3)))
    first, inner, last = log_probs
    np.testing.assert_allclose(first, -np.log(2.0), rtol=1e-5)
    np.testing.assert_allclose(last, -np.log(2.0), rtol=1e-5)
    np.testing.assert_allclose(inner, -np.log(4.0 * 127.5) - np.asarray(log_scales), rtol=1e-5)
    drawn = rgb_mixture_sample(jax.random.key(0), 256, params, 1, temperature=0.0)
    assert set(np.unique(drawn)) <= set(range(256))


def test_parameters_that_do_not_fit_say_so():
    with pytest.raises(
        ValueError, match=r"10 parameters a component.*rgb_mixture_num_params\(3, K\)"
    ):
        rgb_mixture(jnp.zeros(33), 3)
    with pytest.raises(ValueError, match="take 10 logits, got 9"):
        categorical_pixel_log_prob(jnp.zeros(2, int), 5, jnp.zeros(9))
