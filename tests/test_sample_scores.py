"""Scores of samples: closed forms and extremes; paths between latents and what the generator sees along them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgmjax import analysis
from dgmjax.analysis.latent_path import cube_lerp


def rows(n, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


# The Frechet distance.


def test_the_distance_of_a_set_to_itself_is_0_and_symmetric():
    a, b = rows(300), 1.5 * rows(200, seed=1) + 0.3
    assert analysis.frechet_distance(a, a) < 1e-12
    there, back = analysis.frechet_distance(a, b), analysis.frechet_distance(b, a)
    np.testing.assert_allclose(there, back, rtol=1e-10)
    assert there > 0.5


def test_the_distance_of_a_shifted_set_is_the_square_of_the_shift():
    shift = np.array([1.0, -2.0, 0.5, 0.0])
    found = analysis.frechet_distance(rows(300), rows(300) + shift)
    np.testing.assert_allclose(found, (shift**2).sum(), rtol=1e-10)


def test_the_distance_of_scaled_sets_is_that_of_their_gaussians():
    """Of commuting covariances: the sum of (s_a - s_b)^2 over axes."""
    a = rows(100_000) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows(100_000), rowvar=False))).T
    scales = np.array([0.5, 1.0, 2.0, 4.0])
    found = analysis.frechet_distance(a - a.mean(0), (a - a.mean(0)) * scales)
    np.testing.assert_allclose(found, ((1 - scales) ** 2).sum(), rtol=1e-8)


def test_the_distance_of_covariances_that_do_not_commute_is_that_of_the_optimal_map():
    """``x -> A x`` with a symmetric positive A is the optimal transport: the cost is E |x - A x|^2."""
    root = rows(4, seed=5)
    optimal = root @ root.T / 4 + 0.1 * np.eye(4)
    a = rows(500) * np.array([0.1, 1.0, 2.0, 5.0])
    a = a - a.mean(0)
    expected = np.square(a - a @ optimal).sum() / (len(a) - 1)
    np.testing.assert_allclose(analysis.frechet_distance(a, a @ optimal), expected, rtol=1e-9)


def test_covariances_without_full_rank_stay_real():
    flat = np.concatenate([rows(50, 2), np.zeros((50, 6))], 1)
    found = analysis.frechet_distance(flat, flat[:20] + 1e-3)
    assert math.isfinite(found)
    assert found >= 0
    assert analysis.frechet_distance(flat[:3], flat[:3]) < 1e-10


# Precision, recall, classes.


def test_equal_sets_have_precision_and_recall_1_and_sets_apart_0():
    a = rows(200)
    assert analysis.precision_recall(a, a) == (1.0, 1.0)
    assert analysis.precision_recall(a, a + 100) == (0.0, 0.0)
    assert analysis.precision_recall(a + 1e6, a + 1e6) == (1.0, 1.0)


def test_a_lost_mode_costs_recall_and_noise_costs_precision():
    modes = np.repeat(20 * np.eye(4), 100, axis=0)
    data, samples = modes + rows(400), modes + rows(400, seed=1)
    good = analysis.precision_recall(data, samples)
    assert min(good) > 0.75
    collapsed = analysis.precision_recall(data, samples[:100])
    assert collapsed.recall < 0.3
    assert collapsed.precision > 0.75
    noisy = analysis.precision_recall(
        data, np.where(np.arange(400)[:, None] % 2, samples, 10 * rows(400, seed=2))
    )
    assert noisy.precision < 0.65
    assert noisy.recall > collapsed.recall + 0.3


def test_the_manifold_is_that_of_the_k_th_neighbour():
    data, samples = (
        np.array([[0.0], [1.0], [3.0], [7.0]]),
        np.array([[-1.5], [8.0], [11.5], [50.0]]),
    )
    # Reaches of the data for k = 1: 1, 1, 2, 4; for k = 2: 3, 2, 3, 6. Of the samples 9.5, 3.5, 3.5, 38.5.
    assert analysis.precision_recall(data, samples, k=1) == (0.25, 1.0)
    assert analysis.precision_recall(data, samples, k=2) == (0.75, 1.0)
    assert analysis.precision_recall(samples, data, k=1) == (1.0, 0.25)


def test_acceptance_and_classes_are_counted():
    confident = np.log(np.array([[0.95, 0.05, 0.0 + 1e-9], [0.85, 0.15, 1e-9], [0.02, 0.97, 0.01]]))
    found = analysis.class_balance(confident + 7)
    np.testing.assert_allclose(found.accepted, 2 / 3)
    assert found.counts == (2, 1, 0)
    np.testing.assert_allclose((found.lowest, found.highest), (0.0, 2.0))
    assert analysis.class_balance(confident, threshold=0.8).accepted == 1.0
    assert analysis.class_balance(np.array([[1e4, -1e4]])).accepted == 1.0


class Nearest(nnx.Module):
    """A classifier of levels: the class is the image of ``templates`` that is nearest."""

    def __init__(self, templates):
        self.templates = nnx.data(jnp.asarray(templates, jnp.float32))

    def features(self, x):
        return x.reshape(len(x), -1).astype(jnp.float32)

    def logits(self, x):
        difference = self.features(x)[:, None] - self.templates.reshape(1, len(self.templates), -1)
        return -jnp.square(difference).sum(-1)


def test_collapse_is_seen_by_recall_and_by_the_classes():
    templates = np.random.default_rng(0).integers(0, 17, (5, 4, 4, 1))

    def draw(classes, seed):
        noise = np.random.default_rng(seed).integers(-1, 2, (len(classes), 4, 4, 1))
        return np.clip(templates[classes] + noise, 0, 16)

    data = draw(np.arange(300) % 5, 1)
    good = analysis.sample_scores(
        Nearest(templates), draw(np.arange(300) % 5, 2), data, batch_size=64
    )
    bad = analysis.sample_scores(Nearest(templates), draw(np.arange(300) % 2, 2), data)
    assert good.counts == (60,) * 5
    assert good.accepted == bad.accepted == 1.0
    assert (good.lowest, good.highest) == (1.0, 1.0)
    assert (bad.lowest, bad.highest) == (0.0, 2.5)
    assert good.recall > 0.8 > 0.5 > bad.recall
    assert bad.frechet_distance > 10 * good.frechet_distance
    assert bad.precision > 0.8
    assert "classes 0.00 to 2.50 of uniform" in str(bad)
    record = bad.as_record()
    assert record["counts"] == [150, 150, 0, 0, 0]
    assert (record["num_samples"], record["num_data"]) == (300, 300)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: analysis.frechet_distance(rows(1), rows(5)),
            r"at least 2 rows each, got shapes \(1, 4\)",
        ),
        (
            lambda: analysis.frechet_distance(rows(9), rows(9, 3)),
            r"got shapes \(9, 4\) and \(9, 3\)",
        ),
        (
            lambda: analysis.precision_recall(rows(3), rows(9)),
            "precision_recall: .* at least 4 rows",
        ),
        (lambda: analysis.precision_recall(rows(9), rows(9), k=0), "k must be at least 1, got 0"),
        (lambda: analysis.class_balance(np.zeros((0, 3))), r"with n > 0 .* got shape \(0, 3\)"),
        (lambda: analysis.class_balance(np.zeros((2, 3)), threshold=1.0), r"and 1.0"),
        (lambda: analysis.latent_path(jnp.zeros(2), jnp.ones(2), 1), "expected at least 2, got 1"),
        (lambda: analysis.latent_path(jnp.zeros(2), jnp.ones(2), 3, kind="box"), "got 'box'"),
    ],
)
def test_impossible_scores_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Paths between latents.


def normal(seed, shape=(20_000, 16), dtype=jnp.float64):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


@pytest.mark.parametrize("kind", ["linear", "spherical", "cube"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_paths_end_at_their_ends_and_do_not_depend_on_their_direction(kind, dtype):
    a, b = normal(0, (3, 16), dtype), normal(1, (3, 16), dtype)
    path = analysis.latent_path(a, b, 9, kind=kind)
    assert path.shape == (9, 3, 16)
    assert path.dtype == dtype
    np.testing.assert_array_equal(path[0], a)
    np.testing.assert_array_equal(path[-1], b)
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-5} if dtype == jnp.float32 else {"rtol": 1e-9, "atol": 1e-9}
    )
    np.testing.assert_allclose(path, analysis.latent_path(b, a, 9, kind=kind)[::-1], **tolerance)


def test_the_cube_has_equal_steps_of_probability():
    a, b = normal(0, (5, 3)), normal(1, (5, 3))
    path = analysis.latent_path(a, b, 7, kind="cube")
    steps = jnp.diff(jax.scipy.special.ndtr(path), axis=0)
    np.testing.assert_allclose(steps, jnp.broadcast_to(steps[:1], steps.shape), atol=1e-12)
    assert jnp.abs(path - analysis.latent_path(a, b, 7)).max() > 0.05


def test_the_cube_keeps_its_digits_in_both_tails():
    for sign in (-1.0, 1.0):
        ends = sign * jnp.asarray([6.0, 9.0], jnp.float32)
        path = cube_lerp(ends[:1], ends[1:], jnp.asarray([0.0, 0.5, 1.0], jnp.float32))
        exact = cube_lerp(
            -jnp.abs(ends[:1]).astype(jnp.float64), -jnp.abs(ends[1:]).astype(jnp.float64), 0.5
        )
        np.testing.assert_allclose(path[1], -sign * exact, rtol=1e-5)
        assert jnp.isfinite(path).all()


def test_only_the_great_circle_keeps_the_distribution_of_latents():
    """A4-24: mid-points of independent N(0, I) have variance 1/2 along lines, less in the cube, 1 on the circle."""
    a, b = normal(0), normal(1)
    middle = {
        kind: analysis.latent_path(a, b, 3, kind=kind)[1]
        for kind in ("linear", "cube", "spherical")
    }
    variance = {kind: float(jnp.square(z).mean()) for kind, z in middle.items()}
    np.testing.assert_allclose(variance["linear"], 0.5, rtol=0.01)
    # The mean of two uniform numbers has a triangular density: the integral of its quantiles squared.
    np.testing.assert_allclose(variance["cube"], 0.3634, rtol=0.01)
    # The radius is the mean of two of chi, which has the mean of one and half its variance.
    chi = math.sqrt(2) * math.gamma(8.5) / math.gamma(8)
    np.testing.assert_allclose(variance["spherical"], (16 + chi**2) / 32, rtol=0.01)
    assert variance["spherical"] > 0.97
    distance = {kind: kolmogorov_smirnov(z[:, 0]) for kind, z in middle.items()}
    critical = 1.95 / math.sqrt(20_000)  # of the 0.1% level
    assert distance["linear"] > 5 * critical
    assert distance["cube"] > 5 * critical
    assert distance["spherical"] < critical


def kolmogorov_smirnov(values):
    ordered = jnp.sort(values)
    cdf, n = jax.scipy.special.ndtr(ordered), len(ordered)
    return float(jnp.maximum(cdf - jnp.arange(n) / n, jnp.arange(1, n + 1) / n - cdf).max())
