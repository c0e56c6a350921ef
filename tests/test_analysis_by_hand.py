"""Analysis with values worked out by hand: code lengths, typicality, neighbours, active units, steps of annealing."""

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import analysis
from dgmjax.analysis.annealed_importance import _RATE, _schedule, annealed_importance
from dgmjax.analysis.outliers import _png_filters
from tests.test_inference import data, linear_vae


def test_typicality_is_the_distance_from_the_mean():
    """The numbers -1, -2, -6: the mean is -3 and the median -2."""
    found = analysis.typicality(np.array([-1.0, -3.0, -7.0]), np.array([-1.0, -2.0, -6.0]))
    np.testing.assert_allclose(found, [2.0, 0.0, 4.0])


def raw_deflate(values):
    made = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return 8 * len(made.compress(bytes(values)) + made.flush())


def test_the_choice_of_a_filter_costs_two_bits():
    np.testing.assert_array_equal(
        analysis.code_length(np.zeros((1, 1, 1), int)), raw_deflate([0]) + 2
    )


def paeth(a, b, c):
    """The predictor of the specification: the nearest to ``a + b - c``, in this order."""
    return min((a, b, c), key=lambda value: abs(a + b - c - value))


def test_filters_are_those_of_png():
    """Byte by byte, on colours and an image that is not square; outside is 0."""
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3))
    found = _png_filters(images)
    for n, i, j, k in np.ndindex(images.shape):
        a = images[n, i, j - 1, k] if j else 0
        b = images[n, i - 1, j, k] if i else 0
        c = images[n, i - 1, j - 1, k] if i and j else 0
        expected = [(images[n, i, j, k] - p) % 256 for p in (0, a, b, paeth(a, b, c))]
        assert [filtered[n, i, j, k] for filtered in found] == expected
    lengths = [min(raw_deflate(filtered[n].ravel()) for filtered in found) + 2 for n in range(2)]
    np.testing.assert_array_equal(analysis.code_length(images), lengths)


def test_neighbours_are_counted_in_all_blocks_of_rows():
    """1,100 rows, above the 512 of a block, against distances of all pairs."""
    random = np.random.default_rng(0)
    samples = np.concatenate([random.normal(size=(700, 2)), 3 + 0.1 * random.normal(size=(400, 2))])
    rows = random.normal(size=(1_100, 2))

    def share(points, manifold, k):
        own = np.linalg.norm(manifold[:, None] - manifold, axis=-1)
        radii = np.sort(own, 1)[:, k]
        return (np.linalg.norm(points[:, None] - manifold, axis=-1) <= radii).any(1).mean()

    found = analysis.precision_recall(rows, samples, k=2)
    assert found.precision == pytest.approx(share(samples, rows, 2), abs=1e-9)
    assert found.recall == pytest.approx(share(rows, samples, 2), abs=1e-9)
    assert found.precision < 0.8 < found.recall


class Given(nnx.Module):
    """Features and logits are the event."""

    def features(self, x):
        return x

    def logits(self, x):
        return x


def test_options_of_the_scores_arrive():
    random = np.random.default_rng(0)
    samples, rows = random.normal(size=(2, 40, 3))
    found = analysis.sample_scores(Given(), samples, rows, k=1, threshold=0.5)
    assert (found.precision, found.recall) == analysis.precision_recall(rows, samples, k=1)
    assert (found.precision, found.recall) != analysis.precision_recall(rows, samples)
    assert found.accepted == analysis.class_balance(samples, threshold=0.5).accepted
    assert found.accepted > analysis.class_balance(samples).accepted


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 2)])
def test_spherical_paths_are_of_whole_events(shape):
    """The norm of an event of several axes goes along a line."""
    flow = dgm.Flow(dgm.DiagonalLinear(shape))
    random = np.random.default_rng(0)
    x1, x2 = random.normal(size=(2, *shape)).astype(np.float32)
    path = analysis.interpolate(flow, jnp.asarray(x1), jnp.asarray(3 * x2), 5, kind="spherical")
    norms = np.linalg.norm(np.reshape(path, (5, -1)), axis=1)
    np.testing.assert_allclose(norms, np.linspace(norms[0], norms[-1], 5), rtol=1e-5)
    assert norms[-1] == pytest.approx(3 * np.linalg.norm(x2), rel=1e-5)


class Spread(nnx.Module):
    """A posterior without moments: the first latent is the event, the second nothing, both with deviation 3."""

    centre_is_mean = False

    def sample(self, features, *, seed, sample_shape):
        noise = jax.random.normal(seed, (*sample_shape, 2))
        mean = jnp.stack([features[0], jnp.zeros_like(features[0])])
        return mean[None] + 3.0 * noise


class Encoder(nnx.Module):
    def __init__(self):
        self.posterior, self.event_shape, self.num_levels = Spread(), (1,), None

    def encode(self, x):
        return x


def test_the_noise_of_sampled_means_is_their_variance():
    """With two samples the means have a variance of 9/2 more, which is subtracted; passes do not matter."""
    x = np.random.default_rng(0).normal(size=(4_000, 1))
    key = jax.random.key(0)
    found = analysis.active_units(Encoder(), x, key=key, num_samples=2, batch_size=4_000)
    # The standard error of a variance of 5.5 is 5.5 sqrt(2 / 4,000) = 0.12, that of the noise 0.14.
    np.testing.assert_allclose(found.variances, [1.0, 0.0], atol=0.7)
    parts = analysis.active_units(Encoder(), x, key=key, num_samples=2, batch_size=1_500)
    np.testing.assert_allclose(parts.variances, found.variances, rtol=1e-9, atol=1e-9)


# Annealed importance sampling.


def annealed(x, **options):
    return jax.tree.map(
        np.asarray, annealed_importance(linear_vae(), x, jax.random.key(0), **options)
    )


def test_temperatures_are_close_at_both_ends():
    betas = _schedule(40)
    steps = np.diff(betas)
    assert (betas[0], betas[-1], len(betas)) == (0.0, 1.0, 41)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, steps[::-1])
    assert max(steps[0], steps[-1]) < 0.2 * steps.max()


def test_one_temperature_has_the_weights_of_the_prior():
    """``log w = log p(x | z)`` of the chain's own start, which is not that of a pilot."""
    x = data(4)
    found = annealed(
        x, num_temperatures=1, num_chains=5, num_pilots=3, num_leapfrog=1, step_size=1e-9
    )
    np.testing.assert_allclose(
        found.log_weights, linear_vae().log_likelihood(x, jnp.asarray(found.z)), rtol=1e-5
    )
    mean = np.logaddexp.reduce(found.log_weights, 0) - math.log(5)
    np.testing.assert_allclose(found.log_prob, mean, rtol=1e-9)


def test_leapfrog_steps_keep_the_energy_of_their_temperature():
    """The error of a step is of its third power, so that small ones are always accepted."""
    options = {"num_temperatures": 2, "num_chains": 50, "num_pilots": 0, "num_leapfrog": 2}
    found = annealed(data(20), **options, step_size=0.01)
    assert 1 - found.acceptance.mean() < 1e-3


def test_every_transition_has_momenta_of_its_own():
    """Two small steps from one start: the displacement has twice the variance of a momentum, not four times."""
    options = {"num_temperatures": 2, "num_chains": 500, "num_pilots": 0, "num_leapfrog": 1}
    start, end = (annealed(data(4), **options, step_size=s).z for s in (1e-9, 1e-4))
    assert ((end - start) / 1e-4).var() == pytest.approx(2.0, rel=0.15)


def test_only_pilots_choose_the_step():
    """One pilot an example: its acceptance of one step is seen in the next step, not the mean over 30 chains."""
    options = {"num_temperatures": 1, "num_chains": 30, "num_pilots": 1, "num_leapfrog": 1}
    found = annealed(data(300), **options, step_size=0.8)
    pilot = np.log(found.step_size / 0.8) / _RATE + 0.65
    assert pilot.min() > -1e-6
    assert pilot.max() < 1 + 1e-6
    assert pilot.std() > 0.2
