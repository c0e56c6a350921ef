"""The figures of variational autoencoders: what a picture shows is what the theory says, on small sizes."""

import math

import numpy as np
import pytest

from experiments.figures import __main__ as figures
from experiments.figures import _mosaic, _vae, vae_manifold
from tests.drawing import drawn

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("x32")


@pytest.mark.slow
def test_the_negative_elbo_falls_and_its_best_epoch_is_tested(tmp_path):
    record = drawn(tmp_path, "vae_curves")
    curves = record["latents"]
    assert list(curves) == ["20", "2"]
    assert record["epochs"] == list(range(9))
    for curve in curves.values():
        assert len(curve["train"]) == len(curve["validation"]) == 9
        # An untrained decoder says little about 64 bits; a trained one beats fair coins by far.
        assert curve["train"][0] > 64 * math.log(2) - 1
        assert curve["train"][-1] < curve["train"][4] < curve["train"][1] < curve["train"][0]
        assert curve["validation"][curve["best_epoch"]] == min(curve["validation"])
        assert abs(curve["test"] - min(curve["validation"])) < 4
    assert curves["20"]["train"] != curves["2"]["train"]


@pytest.mark.slow
def test_samples_become_like_the_data_and_stay_apart(tmp_path):
    record = drawn(tmp_path, "vae_samples")
    elbo = record["validation_elbo_nats"]
    assert record["epochs"] == [0, 2, 4, 6, 8]
    assert (np.diff(elbo) > 0).all()
    assert elbo[-1] > elbo[0] + 50
    assert record["difference_of_means"][-1] < 0.5 * record["difference_of_means"][0]
    assert min(record["standard_deviation_over_pictures"]) > 0.01


@pytest.mark.slow
def test_the_manifold_is_smooth_and_spreads_over_the_plane(tmp_path):
    record = drawn(tmp_path, "vae_manifold")
    elbo = record["validation_elbo_nats"]
    assert record["epochs"] == [0, 4, 8]
    assert elbo[0] < elbo[1] < elbo[2]
    assert record["difference_of_neighbours"][-1] < 0.6 * record["difference_across_half"][-1]
    assert record["standard_deviation_over_pictures"][-1] > 0.05


def test_the_grid_of_the_manifold_is_that_of_a_picture():
    grid = vae_manifold.quantile_grid(5).reshape(5, 5, 2)
    assert (np.diff(grid[..., 0], axis=1) > 0).all()
    assert (np.diff(grid[..., 1], axis=0) < 0).all()
    np.testing.assert_allclose(grid[2, 2], 0, atol=1e-6)
    # Equal steps of the normal distribution function.
    cdf = [0.5 * (1 + math.erf(z / math.sqrt(2))) for z in grid[0, :, 0]]
    np.testing.assert_allclose(cdf, np.linspace(0.03, 0.97, 5), atol=1e-6)


def test_a_mosaic_holds_every_image_where_it_belongs():
    dataset = _vae.load_images("digits", binary=False)
    images = np.arange(6)[:, None] / 5 * np.ones(64)
    images[:, 0] = 1  # the upper left pixel
    whole = _mosaic.mosaic(images, dataset, 3, scale=4)
    assert whole.shape == (2 * 33 + 1, 3 * 33 + 1)
    centres = whole[17::33, 17::33]
    np.testing.assert_allclose(centres, np.arange(6).reshape(2, 3) / 5)
    assert (whole[1::33, 1::33][:2, :3] == 1).all()
    assert (whole[::33] == 0.25).all()


@pytest.mark.slow
def test_learned_priors_are_closer_to_the_aggregated_posterior(tmp_path):
    record = drawn(tmp_path, "vae_priors")
    priors = record["priors"]
    standard = priors["standard normal"]
    assert list(priors) == ["standard normal", "VampPrior"]
    for name, numbers in priors.items():
        assert numbers["mutual_information"] <= record["log_n"]
        assert numbers["marginal_kl"] > -3 * numbers["marginal_kl_standard_error"]
        assert 0.9 < record["mass_of_the_window"][name] < 1.02
        if name != "standard normal":
            assert numbers["marginal_kl"] < standard["marginal_kl"]
    assert priors["VampPrior"]["marginal_kl"] < 0.7 * standard["marginal_kl"]
    assert priors["VampPrior"]["hole_mass"] < standard["hole_mass"]
    assert priors["VampPrior"]["test_elbo_nats"] > standard["test_elbo_nats"] - 2


@pytest.mark.slow
def test_the_share_in_holes_is_the_hole_mass(tmp_path):
    record = drawn(tmp_path, "vae_holes")
    standard, flow = record["priors"].values()
    for numbers in (standard, flow):
        assert abs(numbers["share_in_holes"] - numbers["hole_mass"]) < 0.004
        assert 0 < numbers["hole_mass"] < 1
    assert standard["hole_mass"] > flow["hole_mass"]
    assert standard["marginal_kl"] > flow["marginal_kl"]


@pytest.mark.slow
def test_inverse_autoregressive_flows_fill_the_prior(tmp_path):
    record = drawn(tmp_path, "iaf_toy")
    numbers = {
        name: {key: values[0] for key, values in runs.items()}
        for name, runs in record["posteriors"].items()
    }
    for one in numbers.values():
        assert one["elbo_nats"] < one["exact_log_likelihood_nats"] + 3 * one["elbo_standard_error"]
        assert one["exact_log_likelihood_nats"] < record["highest_possible_elbo_nats"] + 1e-3
        # The mutual information of four points is at most log 4.
        assert one["rate"] - one["marginal_kl"] < math.log(4) + 0.05
    assert numbers["IAF"]["elbo_nats"] > numbers["Gaussian"]["elbo_nats"] + 0.02
    assert numbers["IAF"]["marginal_kl"] < numbers["Gaussian"]["marginal_kl"]
    assert all(distance > 0.5 for distance in record["smallest_distance_of_means"].values())


@pytest.mark.slow
def test_reconstructions_beat_the_mean_image_and_great_circles_keep_their_norm(tmp_path):
    record = drawn(tmp_path, "vae_reconstructions")
    assert record["error_of_reconstructions"] < 0.95 * record["error_of_the_mean_image"]
    linear, spherical = record["smallest_norm_along_paths"].values()
    assert all(a < b + 1e-4 for a, b in zip(linear, spherical, strict=True))
    assert sum(linear) < 0.9 * sum(spherical)
    assert len(set(record["test_images"])) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["vae_samples", "--epochs", "3"], "expected --epochs >= 4, got 3"),
        (["vae_manifold", "--epochs", "1"], "expected --epochs >= 2, got 1"),
        (["vae_curves", "--epochs", "0"], "expected --epochs >= 1, got 0"),
        (["vae_priors", "--data", "digits"], "--data is no option of vae_priors"),
        (["vae_curves", "--steps", "9"], "--steps is no option of vae_curves"),
        (["vae_curves", "--data", "two_moons"], "expected a set of images of integers"),
    ],
)
def test_bad_commands_say_what_to_do(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        figures.main(options)
    assert str(stopped.value).startswith("error: ")
    assert message in str(stopped.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_autoencoder_is_no_generative_model(tmp_path):
    """Row A4-02."""
    record = drawn(tmp_path, "autoencoder")
    scores = record["log_prob_of_pictures_nats"]
    assert scores["VAE"]["N(0, I)"][1] > scores["autoencoder"]["N(0, I)"][1] + 20
    for sources in scores.values():
        for low, middle, high in sources.values():
            assert low <= middle <= high
