"""Numbers that figures compute before they draw, on densities and models that are known by hand; nothing is trained."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from experiments.figures import (
    _gan,
    _latent_plane,
    _mosaic,
    _vae,
    autoencoder,
    gan_curves,
    gap,
    hypercubes,
    iaf_toy,
    pixel_histogram,
    reversible_memory,
    vae_manifold,
)

figures = pytest.importorskip("matplotlib.figure")
pytestmark = pytest.mark.usefixtures("x32")


def test_the_elbo_of_a_figure_is_over_all_rows_with_noise_of_their_own(monkeypatch):
    """4,001 rows, 2,000 at a time: the last one weighs a row; the standard error is sqrt(1 / 4,001)."""
    seen = []

    def elbo(model, x, keys, num_samples):
        seen.append(jax.random.key_data(keys))
        return np.asarray(x[:, 0], np.float32) * num_samples

    monkeypatch.setattr(_vae, "_elbo", elbo)
    x = np.where(np.arange(4_001)[:, None] % 2, -1.0, 1.0)
    x[-1] = 4_001.0
    nats, _ = _vae.negative_elbo(None, x, 0)
    assert nats == pytest.approx(-1.0)
    nats, error = _vae.negative_elbo(None, x[:4_000], 0, num_samples=3)
    assert (nats, error) == (0.0, pytest.approx(3 / math.sqrt(4_000)))
    assert len(np.unique(np.concatenate(seen[:3]), axis=0)) == 4_001
    _vae.negative_elbo(None, x[:1], 1)
    assert not np.array_equal(seen[-1][0], seen[0][0])


class Decoder(nnx.Module):
    """Means of levels are the first latents; a GAN's are in [-1, 1]."""

    num_levels = 17

    def decoded_mean(self, z):
        return z

    def generate(self, z):
        return z

    def decode(self, z):
        return z


def test_pictures_are_in_the_unit_of_brightness():
    levels = np.array([[0.0, 4.0, 16.0]], np.float32)
    np.testing.assert_allclose(_vae.decoded_mean(Decoder(), levels), [[0.0, 0.25, 1.0]])
    np.testing.assert_allclose(_gan.generated(Decoder(), levels / 8 - 1), [[0.0, 0.25, 1.0]])
    data = types.SimpleNamespace(num_levels=17)
    found = autoencoder._decoded(Decoder(), data, np.array([[-1.0, 0.02, 1.0, 1.7]]))
    np.testing.assert_array_equal(found, [[0, 8, 16, 16]])


def test_differences_of_samples_are_those_of_moments():
    """Levels 0 and 16 are brightness 0 and 1: mean 1/2 and deviation 1/2 of every pixel."""
    data = types.SimpleNamespace(train=np.array([[0, 16], [16, 0]]), num_levels=17)
    found = _gan.differences(np.array([[0.25, 0.5], [0.25, 0.75]]), data)
    np.testing.assert_allclose(found, ((0.25 + 0.125) / 2, (0.5 + 0.375) / 2))


def test_a_mosaic_of_images_that_are_not_square():
    data = types.SimpleNamespace(image_shape=(2, 3, 1))
    images = np.arange(4 * 6).reshape(4, 6) / 24
    whole = _mosaic.mosaic(images, data, 2, scale=1)
    assert whole.shape == (2 * 3 + 1, 2 * 4 + 1)
    for index, image in enumerate(images):
        top, left = 1 + index // 2 * 3, 1 + index % 2 * 4
        np.testing.assert_array_equal(whole[top : top + 2, left : left + 3].ravel(), image)
    assert (whole[[0, 3, 6]] == 0.25).all()


def test_neighbours_differ_along_both_axes():
    """Brightness 3 i + j: steps of 3 down and of 1 across."""
    grid = np.add.outer(3.0 * np.arange(4), np.arange(4.0))[..., None]
    assert vae_manifold._difference(grid, 1) == 2.0
    assert vae_manifold._difference(grid, 2) == 4.0


def test_the_map_of_a_plane_has_its_lowest_row_first():
    """``log p = z_1 + 10 z_2`` at the centres -1.5, -0.5, 0.5, 1.5 of cells."""
    plane = _latent_plane.LatentMap(2.0, 4)
    found = plane.log_density(lambda z: z @ jnp.asarray([1.0, 10.0], z.dtype))
    centres = np.array([-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_allclose(found, 10 * centres[:, None] + centres, rtol=1e-4)
    axes = figures.Figure().subplots()
    image = plane.show(axes, found, "title")
    assert list(image.get_extent()) == [-2.0, 2.0, -2.0, 2.0]
    assert image.origin == "lower"
    assert (axes.get_xlim(), axes.get_ylim()) == ((-2.0, 2.0), (-2.0, 2.0))


def test_gaps_and_their_errors_by_hand(monkeypatch):
    """Weights 1/2 and 3/2, of mean 1: the gap is -(log 1/2 + log 3/2) / 2 = 0.1438, whatever the level."""
    mass = gap.exact_mass()
    weights = np.array([0.5, 1.5, 0.5, 1.5])

    def bound(noise, y, key, *, num_samples, batch_size):
        return np.log(mass)[np.asarray(y)[:, 0]] + np.tile(np.log(weights), gap.LEVELS)

    monkeypatch.setattr(gap, "_bound", bound)
    found = gap._gap(None, mass, 1, 1, 4, 0)
    expected = -0.5 * math.log(0.75) * mass.sum()
    assert found["gap"] == pytest.approx(expected)
    assert found["plain_gap"] == pytest.approx(expected)
    # Four draws a level, independent levels: sqrt(sum_y P(y)^2 s^2 / 4).
    root = math.sqrt((mass**2).sum() / 4)
    for name, values in (("gap", weights - 1 - np.log(weights)), ("plain_gap", np.log(weights))):
        assert found[f"{name}_standard_error"] == pytest.approx(root * values.std(ddof=1))


class Slope:
    """``p(x) = x_1^2`` on the square of four cubes, whose masses along the first axis are 1/3 and 7/3."""

    def log_prob(self, x):
        return 2 * jnp.log(x[..., 0])


def test_masses_of_cubes_are_integrals_over_them():
    grid = hypercubes._on_cubes(Slope())
    np.testing.assert_array_equal(hypercubes.CUBES, [[0, 0], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_allclose(grid.mean((1, 2)), [1 / 3, 1 / 3, 7 / 3, 7 / 3], rtol=1e-3)
    # Densities grow along the first axis and not along the second.
    assert (np.diff(grid, axis=1) > 0).all()
    np.testing.assert_allclose(np.diff(grid, axis=2), 0, atol=1e-6)


class Normal:
    def log_prob(self, z):
        return -0.5 * (z**2).sum(-1) - math.log(2 * math.pi)


class Four(nnx.Module):
    """``p(x | z)`` is 1/4 for every point; posteriors are ``N(m_x, I)``."""

    def prior_distribution(self):
        return Normal()

    def log_likelihood(self, x, z):
        return jnp.full(z.shape[:-1], -math.log(4), z.dtype)


def test_the_exact_likelihood_of_the_four_points_is_an_integral():
    """Whatever is decoded: ``p(x) = 1/4``."""
    assert iaf_toy._exact(Four()) == pytest.approx(-math.log(4), abs=1e-4)


def test_the_pairs_of_means_are_all_of_them():
    means = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    distances = np.linalg.norm(iaf_toy._pairs(means), axis=-1)
    np.testing.assert_allclose(sorted(distances), [1.0, math.sqrt(18), 5.0])


def test_the_marginal_divergence_of_shifted_codes(monkeypatch):
    """Codes ``N(m, I)``, the same for the four points, from a prior ``N(0, I)``: |m|^2 / 2 = 2."""
    model = dgm.VAE((4,), latent_dim=2, width=4, depth=1, rngs=nnx.Rngs(0))
    features = np.tile([2.0, 0.0, 0.0, 0.0], (4, 1)).astype(np.float32)
    log_std = model.posterior.moments(jnp.asarray(features))[1]
    monkeypatch.setattr(dgm.VAE, "encode", lambda self, x: jnp.asarray(features))
    values = np.asarray(iaf_toy._log_ratio(model, jax.random.key(0), 2_000))
    s = np.exp(np.asarray(log_std)[0])
    kl = (0.5 * (s**2 - 1 - 2 * np.log(s))).sum() + 2.0
    assert values.mean() == pytest.approx(kl, abs=4 * float(values.std()) / math.sqrt(2_000))


def test_curves_of_a_game_are_means_of_parts_of_the_training(monkeypatch, tmp_path):
    """200 epochs in 100 parts of two."""
    names = ("discriminator_loss", "generator_loss", "discriminator_accuracy")
    history = [dict.fromkeys(names, float(epoch)) for epoch in range(200)]
    monkeypatch.setattr(gan_curves, "train", lambda *a, **k: (None, history))
    monkeypatch.setattr(gan_curves, "_picture", lambda out, record: None)
    record = gan_curves.draw(tmp_path / "a.png", epochs=200, width=4, rows=20)
    np.testing.assert_allclose(record["generator_loss"], 2 * np.arange(100) + 0.5)
    assert record["epochs"] == [2 * i + 2 for i in range(100)]
    assert record["equilibrium"]["discriminator_loss"] == pytest.approx(2 * math.log(2))
    assert record["equilibrium"]["generator_loss"] == pytest.approx(math.log(2))
    assert record["largest_generator_loss"] == 199.0


def test_the_entropy_of_pixel_values_is_in_bits(monkeypatch, tmp_path):
    """1/2, 1/4, 1/4: 1.5 bits, of training rows."""
    x = np.array([[0, 1], [0, 2]])
    data = dgm.data.Dataset("a", x, x * 0, x * 0, num_levels=4)
    monkeypatch.setattr(dgm.data, "load_dataset", lambda name, num_levels: data)
    record = pixel_histogram.draw(tmp_path / "a.png")
    assert record["entropy_bits"] == pytest.approx(1.5)
    assert record["share"] == [0.5, 0.25, 0.25, 0.0]
    assert record["share_of_the_ends"] == [0.5, 0.0]
    assert record["median_share"] == 0.25
    assert pixel_histogram.draw(tmp_path / "b.png", num=1)["rows"] == 1


def test_the_twins_of_the_memory_figure_have_as_many_convolutions(monkeypatch, tmp_path):
    """A unit of a RevNet has two functions, at half the channels each: the ResNet has twice the units."""
    asked = []
    for name in ("RevNet", "PreActResNet"):
        monkeypatch.setattr(dgm, name, lambda *a, name=name, **k: asked.append((name, k)))
    monkeypatch.setattr(
        reversible_memory, "_measure", lambda *a: {"temporary_bytes": len(asked), "parameters": 1}
    )
    monkeypatch.setattr(reversible_memory, "_picture", lambda out, record: None)
    record = reversible_memory.draw(tmp_path / "a.png", blocks=(2, 6), side=8, filters=12)
    found = [(name, k["filters"], k["units"], k.get("reversible")) for name, k in asked]
    assert found == [
        ("RevNet", (12, 12), (2,), True), ("RevNet", (12, 12), (6,), True),
        ("RevNet", (12, 12), (2,), False), ("RevNet", (12, 12), (6,), False),
        ("PreActResNet", (6, 6), (4,), None), ("PreActResNet", (6, 6), (12,), None),
    ]  # fmt: skip
    assert list(record["growth"].values()) == [2.0, 4 / 3, 1.2]


@pytest.mark.parametrize(("rows", "batch", "steps"), [(300, 20, 15), (10_001, 128, 78)])
def test_figures_train_by_epochs_and_select_on_validation(rows, batch, steps, monkeypatch):
    asked = {}

    def fit(model, x, **options):
        asked.update(options, rows=len(x))
        for step in (steps, 2 * steps):
            options["watch"].on_evaluation(step, model)
        return types.SimpleNamespace(model=model)

    monkeypatch.setattr(dgm, "fit", fit)
    x = [np.full((n, 4), n) for n in (rows, 7, 5)]
    epochs = []
    _vae.train(
        None, dgm.data.Dataset("a", *x, num_levels=2), seed=3, epochs=2,
        on_epoch=lambda epoch, model: epochs.append(epoch),
    )  # fmt: skip
    assert (asked["rows"], len(asked["validation"])) == (rows, 7)
    assert (asked["batch_size"], asked["eval_every"], asked["steps"]) == (batch, steps, 2 * steps)
    assert epochs == [0, 1, 2]
