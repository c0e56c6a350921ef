"""Ranks and coverage of posteriors that are exact, too narrow, too wide, biased or wrongly correlated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.analysis import Calibration, calibration

pytestmark = pytest.mark.usefixtures("x32")
KEY = jax.random.key(0)
ROWS, SAMPLES = 600, 199
NOISE = 0.5


class Posterior(nnx.Module):
    """The posterior of ``t ~ N(0, I)`` given ``x = t + noise / 2``; exact with the defaults."""

    event_shape, context_shape, num_levels = (2,), (2,), None

    def __init__(self, scale=1.0, shift=0.0, correlation=0.0):
        variance = NOISE**2 / (1 + NOISE**2)
        self.tril = (
            scale * np.sqrt(variance) * np.linalg.cholesky([[1, correlation], [correlation, 1]])
        )
        self.shift = np.array([shift, 0.0])

    def moments(self, context):
        return context / (1 + NOISE**2) + jnp.asarray(self.shift, jnp.float32)

    def sample(self, *, seed, sample_shape, context):
        noise = jax.random.normal(seed, (sample_shape, 2))
        noise = noise @ jnp.asarray(self.tril.T, jnp.float32)
        return jnp.broadcast_to(self.moments(context), noise.shape) + noise

    def log_prob(self, value, context=None, *, seed=None, key=None):
        mean = jnp.broadcast_to(self.moments(context), value.shape)
        tril = jnp.asarray(self.tril, jnp.float32)
        return dgm.densities.tril_normal_log_prob(value, mean, tril)

    def bound(self, num_samples=1):
        return dgm.densities.Bound("exact")


def draws(rows=ROWS):
    rng = np.random.RandomState(1)
    parameters = rng.normal(size=(rows, 2)).astype(np.float32)
    noise = NOISE * rng.normal(size=(rows, 2))
    return parameters, (parameters + noise).astype(np.float32)


def found(**wrong) -> Calibration:
    return calibration(Posterior(**wrong), *draws(), key=KEY, num_samples=SAMPLES)


LEVELS = np.array([0.1, 0.5, 0.9])
FOUR_ERRORS = 4 * np.sqrt(LEVELS * (1 - LEVELS) / ROWS)


def test_an_exact_posterior_is_calibrated():
    exact = found()
    assert exact.ranks.shape == (ROWS, 2)
    assert exact.ranks.min() >= 0
    assert exact.ranks.max() <= SAMPLES
    assert (exact.p_values > 1e-3).all()
    assert exact.coverage_p_value > 1e-3
    assert (np.abs(exact.expected_coverage(LEVELS) - LEVELS) < FOUR_ERRORS).all()


def test_wrong_posteriors_are_not():
    narrow, wide, biased = found(scale=0.6), found(scale=1.6), found(shift=0.3)
    assert (narrow.expected_coverage(LEVELS) < LEVELS - FOUR_ERRORS / 4).all()
    assert (wide.expected_coverage(LEVELS) > LEVELS + FOUR_ERRORS / 4).all()
    for wrong in (narrow, wide):
        assert (wrong.p_values < 1e-6).all()
        assert wrong.coverage_p_value < 1e-6
    assert biased.p_values[0] < 1e-6
    assert biased.p_values[1] > 1e-3
    # Ranks of the biased element fall from the truth that lies below.
    assert biased.ranks[:, 0].mean() < 0.4 * SAMPLES


def test_marginals_do_not_show_a_correlation_and_coverage_does():
    wrong = found(correlation=0.9)
    assert (wrong.p_values > 1e-3).all()
    assert wrong.coverage_p_value < 1e-6


def test_the_number_of_rows_at_a_time_changes_nothing():
    parameters, context = draws(10)
    a, b = (
        calibration(Posterior(), parameters, context, key=KEY, num_samples=50, batch_size=size)
        for size in (3, 64)
    )
    np.testing.assert_array_equal(a.ranks, b.ranks)
    np.testing.assert_array_equal(a.density_ranks, b.density_ranks)


def test_ranks_and_coverage_by_hand():
    class Known(Posterior):
        """Samples 0, 1, 2, 3 in both elements; the density falls with the sum."""

        def sample(self, *, seed, sample_shape, context):
            return jnp.arange(4.0)[:, None] + jnp.zeros((4, 2))

        def log_prob(self, value, context=None, *, seed=None, key=None):
            return -value.sum(-1)

    parameters = np.array([[1.5, 0.5], [9.0, -1.0], [-1.0, -1.0]], np.float32)
    known = calibration(Known(), parameters, np.zeros((3, 2)), key=KEY, num_samples=4)
    assert known.ranks.tolist() == [[2, 1], [4, 0], [0, 0]]
    # Sums of the truths 2, 8, -2 among those of samples 0, 2, 4, 6; a tie is no higher density.
    assert known.density_ranks.tolist() == [1, 4, 0]
    # Positions (rank + 1/2) / 5 are 0.3, 0.9 and 0.1.
    np.testing.assert_allclose(known.expected_coverage([0.2, 0.3, 0.95]), [1 / 3, 2 / 3, 1.0])
    assert known.expected_coverage(0.5).shape == ()
    counts, expected = known.histogram(known.ranks[:, 0])
    assert counts.tolist() == [1, 0, 1, 0, 1]
    np.testing.assert_allclose(expected, 0.6)


def test_bins_hold_as_many_ranks_as_they_are_expected_to():
    ranks = np.arange(31)
    counts, expected = Calibration(ranks[:, None], ranks, 30).histogram(ranks)
    assert len(counts) == 20
    np.testing.assert_array_equal(counts, expected)


def test_it_says_what_it_found():
    assert str(Calibration(np.zeros((4, 1), int), np.zeros(4, int), 9)).startswith(
        "50% regions hold 1.00, 90% regions 1.00 of 4 truths; p-values "
    )


def test_what_cannot_be_compared_is_refused():
    parameters, context = draws(4)
    for wrong in (
        {"parameters": parameters[:3]},
        {"parameters": parameters[:0], "context": context[:0]},
        {"num_samples": 0},
    ):
        options = {"parameters": parameters, "context": context, "key": KEY} | wrong
        with pytest.raises(ValueError, match="expected as many parameters as observations"):
            calibration(Posterior(), **options)
    vae = dgm.VAE((4,), latent_dim=2, likelihood="bernoulli", width=4, depth=1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="densities of samples are compared, and VAE has a"):
        calibration(vae, parameters, context, key=KEY)


def test_panels_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = dgm.plots.calibration_panels(
        found(), tmp_path / "calibration.png", names=["mass", "distance"], title="exact"
    )
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ValueError, match="2 elements, but 1 names"):
        dgm.plots.calibration_panels(found(), tmp_path / "other.png", names=["mass"])
