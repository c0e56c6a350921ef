"""Laws of every toy distribution: normalized, sampled from its own density, a good citizen."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.data import TOYS, toy

every_toy = pytest.mark.parametrize("name", TOYS)

# Midpoint rule on [-6, 6]^2, which holds all but 1e-10 of the mass. The rule converges faster than
# any power for smooth densities wider than a cell, and cell edges fall on the checkerboard's.
LOW, HIGH, CELLS, COARSE = -6.0, 6.0, 240, 24
WIDTH = (HIGH - LOW) / CELLS
NUM_SAMPLES = 40_000


@functools.cache
def grid_log_prob(name):
    centres = LOW + WIDTH * (np.arange(CELLS) + 0.5)
    points = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)
    return np.asarray(TOYS[name].log_prob(points))


@functools.cache
def draws(name):
    return np.asarray(TOYS[name].sample(seed=jax.random.key(1), sample_shape=(NUM_SAMPLES,)))


@every_toy
def test_density_integrates_to_one(name):
    total = np.exp(grid_log_prob(name)).sum() * WIDTH**2
    assert total == pytest.approx(1, abs=1e-8)


@every_toy
def test_samples_fill_cells_as_the_density_says(name):
    fine = np.exp(grid_log_prob(name)) * WIDTH**2
    block = CELLS // COARSE
    expected = fine.reshape(COARSE, block, COARSE, block).sum((1, 3)).ravel() * NUM_SAMPLES
    bins = np.linspace(LOW, HIGH, COARSE + 1)
    x = draws(name)
    observed = np.histogram2d(x[:, 0], x[:, 1], bins=(bins, bins))[0].ravel()

    frequent = expected >= 5
    expected = np.append(expected[frequent], expected[~frequent].sum())
    observed = np.append(observed[frequent], NUM_SAMPLES - observed[frequent].sum())
    kept = expected > 1e-6
    assert observed[~kept].sum() == 0
    chi_square = ((observed[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    freedom = kept.sum() - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


@every_toy
def test_mean_log_prob_of_samples_is_minus_the_entropy(name):
    log_p = grid_log_prob(name)
    p = np.exp(log_p)
    negative_entropy = (p * np.where(p > 0, log_p, 0)).sum() * WIDTH**2
    sampled = np.asarray(TOYS[name].log_prob(draws(name)))
    standard_error = sampled.std() / math.sqrt(NUM_SAMPLES)
    assert abs(sampled.mean() - negative_entropy) < 4 * standard_error + 1e-12


@every_toy
def test_samples_lie_about_the_unit_window(name):
    x = draws(name)
    assert (np.abs(x) < 4).mean() > 0.99
    assert np.abs(x).max() > 2.5


def moon_curve(t):
    return np.stack([2 * np.cos(np.pi * t) - 1, 2 * np.sin(np.pi * t) - 0.5], -1), np.ones_like(t)


def spiral_curve(t):
    unit = np.stack([-np.cos(3 * np.pi * t), np.sin(3 * np.pi * t)], -1)
    return 1.2 * np.pi * t[:, None] * unit, 2 * t


@pytest.mark.parametrize(
    ("name", "curve", "noise"), [("two_moons", moon_curve, 0.2), ("spirals", spiral_curve, 0.12)]
)
def test_quadrature_error_is_within_its_stated_bound(name, curve, noise):
    """Against 500 panels of 16 nodes each, written from the documented formula."""
    panels = 500
    offsets, panel_weights = np.polynomial.legendre.leggauss(16)
    t = ((np.arange(panels)[:, None] + (offsets + 1) / 2) / panels).ravel()
    points, density = curve(t)
    points = np.concatenate([points, -points])
    weights = np.tile(np.tile(panel_weights / (2 * panels), panels) * density, 2) / 2

    rng = np.random.default_rng(0)
    near = draws(name)[:60] + 3 * noise * rng.standard_normal((60, 2))
    corners = np.array([[6.0, 6.0], [-6.0, 6.0], [6.0, -6.0], [-6.0, -6.0], [0.0, 0.0], [0.0, 6.0]])
    x = np.concatenate([near, corners, rng.uniform(LOW, HIGH, (34, 2))])
    exponent = -((x[:, None] - points) ** 2).sum(-1) / (2 * noise**2)
    peak = exponent.max(1, keepdims=True)
    total = (weights * np.exp(exponent - peak)).sum(1)
    expected = np.log(total) + peak[:, 0] - math.log(2 * math.pi * noise**2)

    assert TOYS[name].density == "quadrature"
    assert 0 < TOYS[name].log_prob_error <= 1e-6
    np.testing.assert_allclose(
        TOYS[name].log_prob(x), expected, rtol=0, atol=TOYS[name].log_prob_error
    )


@every_toy
def test_dtype_is_preserved_and_shapes_follow(name):
    distribution = TOYS[name]
    assert draws(name).dtype == grid_log_prob(name).dtype == np.float64  # the default under x64
    narrow = jnp.asarray(draws(name)[:3], jnp.float32)
    log_p = distribution.log_prob(narrow)
    assert log_p.dtype == jnp.float32
    wide = distribution.log_prob(narrow.astype(jnp.float64))
    np.testing.assert_allclose(log_p.astype(jnp.float64), wide, rtol=0, atol=5e-4)

    draw = functools.partial(distribution.sample_and_log_prob, seed=jax.random.key(2))
    for shape in [(), (2, 3)]:
        x, log_p = jax.eval_shape(functools.partial(draw, sample_shape=shape, dtype=jnp.float32))
        assert (x.shape, x.dtype) == ((*shape, *distribution.event_shape), jnp.float32)
        assert (log_p.shape, log_p.dtype) == (shape, jnp.float32)


@every_toy
def test_batched_is_loop_is_jitted_vmap(name):
    log_prob = TOYS[name].log_prob
    x = jnp.asarray(draws(name)[:3])
    batched = log_prob(x)
    np.testing.assert_allclose(batched, [log_prob(one) for one in x], rtol=1e-12)
    np.testing.assert_allclose(batched, jax.jit(jax.vmap(log_prob))(x), rtol=1e-12)
    with jax.disable_jit():
        np.testing.assert_allclose(batched, log_prob(x), rtol=1e-12)


def test_sampling_is_the_same_inside_jit_and_takes_an_integer_shape():
    key = jax.random.key(3)
    sample = functools.partial(TOYS["spirals"].sample, sample_shape=3)
    np.testing.assert_allclose(
        jax.jit(lambda seed: sample(seed=seed))(key), sample(seed=key), rtol=1e-12
    )
    assert TOYS["spirals"].log_prob(jnp.zeros((0, 2))).shape == (0,)


@every_toy
def test_extreme_points_have_finite_gradients_and_no_nan(name):
    points = jnp.asarray([[0.0, 0.0], [1e4, -1e4], [1.0, 1.0]], jnp.float32)
    log_p, grads = jax.vmap(jax.value_and_grad(TOYS[name].log_prob))(points)
    assert np.isfinite(grads).all()
    if name == "checkerboard":
        np.testing.assert_allclose(log_p, [-math.log(32), -np.inf, -math.log(32)], rtol=1e-6)
    else:
        assert np.isfinite(log_p).all()
        assert log_p[1] < -1e6


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_checkerboard_samples_never_leave_the_support(dtype):
    """bfloat16 has 128 offsets a square, so rounding across an edge would show at once."""
    x = TOYS["checkerboard"].sample(seed=jax.random.key(4), sample_shape=(20_000,), dtype=dtype)
    assert jnp.isfinite(TOYS["checkerboard"].log_prob(x)).all()


def test_integer_points_are_evaluated_in_the_default_float():
    log_p = TOYS["circles"].log_prob(np.array([[3, 0], [0, 1]]))
    np.testing.assert_array_equal(log_p, TOYS["circles"].log_prob(jnp.array([[3.0, 0], [0, 1]])))


def test_lookup_by_name():
    assert all(toy(name) is TOYS[name] and TOYS[name].name == name for name in TOYS)
    assert set(TOYS) == {
        "two_moons", "circles", "eight_gaussians", "pinwheel", "checkerboard", "spirals"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [("moons", "Did you mean 'two_moons'"), ("xyz", r"no distribution 'xyz'\. Choose from two_")],
)
def test_unknown_name_suggests_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        toy(name)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_wrong_event_shape_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"pinwheel\.log_prob: expected a value of shape \[\*batch"
    ):
        TOYS["pinwheel"].log_prob(jnp.zeros(shape))
