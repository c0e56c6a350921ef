"""The figures of dequantization: what a picture shows is what the theory says, on small sizes."""

import json
import math
import pathlib
import pkgutil

import numpy as np
import pytest

from dgmjax.plots.pixel_histogram import pixel_histogram
from experiments.figures import __main__ as figures
from experiments.figures import gap, registry
from tests.drawing import drawn

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("x32")
FOLDER = pathlib.Path(gap.__file__).parent


@pytest.mark.slow
def test_only_dequantization_keeps_the_likelihood_below_the_entropy(tmp_path):
    record = drawn(tmp_path, "degenerate")
    entropy = record["entropy_nats"]
    bare = np.array(record["nats_without_dequantization"])
    bound = np.array(record["nats_with_uniform_dequantization"])
    exact = np.array(record["nats_of_the_exact_mass"])
    assert entropy < math.log(record["levels"])
    assert record["steps"][0] == 0
    assert record["steps"][-1] == 200
    assert (np.diff(bare[::10]) < 0).all()
    assert bare[-1] < entropy - 1
    assert record["steps"][int(np.argmax(bare < entropy))] == record["first_step_below_entropy"]
    assert (bound >= exact).all()
    assert (exact >= entropy).all()
    assert bound[-1] < bound[0] - 0.2
    assert bound[-1] < entropy + 0.2


def test_the_histogram_counts_all_pixels_of_the_digits(tmp_path):
    record = drawn(tmp_path, "pixel_histogram")
    share = np.array(record["share"])
    assert (len(share), record["rows"], record["values"]) == (17, 100, 6_400)
    assert abs(share.sum() - 1) < 1e-12
    assert min(record["share_of_the_ends"]) > 2 * record["median_share"]


@pytest.mark.parametrize("log", [False, True])
def test_the_histogram_counts_every_level(log, tmp_path):
    values = np.array([[0, 0, 0], [3, 1, 3]], np.uint8)
    path = tmp_path / "new" / "x.png"
    share = pixel_histogram(values, path, num_levels=5, log=log, title="a title")
    np.testing.assert_allclose(share, np.array([3, 1, 0, 2, 0]) / 6)
    assert matplotlib.image.imread(path).shape == (512, 896, 4)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([0.5], TypeError, "expected integers, got float64"),
        ([[0, 5]], ValueError, r"expected values in 0 .. 4 for num_levels=5, got 0 .. 5"),
        ([-1, 2], ValueError, r"got -1 .. 2"),
        (np.zeros(0, int), ValueError, "got none"),
    ],
)
def test_the_histogram_takes_integers_of_its_levels(values, error, message, tmp_path):
    with pytest.raises(error, match=message):
        pixel_histogram(values, tmp_path / "x.png", num_levels=5)


@pytest.mark.slow
def test_hypercubes_have_a_bound_above_the_exact_masses(tmp_path):
    record = drawn(tmp_path, "hypercubes")
    share = np.array(record["share_of_data"])
    for name in ("uniform", "variational"):
        numbers = record[name]
        assert numbers["bound"] == f"one-sample bound ({name} dequantization)"
        assert numbers["total_mass"] < 1 + 1e-3
        mass = np.array(numbers["mass_of_cubes"])
        assert abs(numbers["exact_nats"] + (share * np.log(mass)).sum()) < 1e-9
        assert numbers["exact_nats"] > record["entropy_nats"] - 1e-3
        assert numbers["nats"] > numbers["exact_nats"] - 3 * numbers["standard_error_nats"]
        assert numbers["nats"] < record["entropy_nats"] + 0.3
    assert record["uniform"] != record["variational"]


@pytest.mark.slow
def test_importance_samples_close_the_gap(tmp_path):
    record = drawn(tmp_path, "gap")
    assert record["num_samples"] == sorted(record["num_samples"])
    assert len(record["gaps"]) == 5
    for numbers in record["gaps"].values():
        value, error, plain, plain_error = map(np.array, numbers.values())
        assert (plain > -3 * plain_error).all()
        # Equal in the mean because the mean of the weights is the exact mass.
        assert (np.abs(plain - value) < 4 * np.hypot(plain_error, error)).all()
        assert (np.diff(value) < 3 * np.hypot(error[1:], error[:-1])).all()
        assert value[-1] < value[0] / 4
    trained = {name: numbers["gap"][0] for name, numbers in record["gaps"].items()}
    assert trained["variational, trained"] < trained["uniform"] / 2
    assert trained["truncated normal, trained"] < trained["truncated normal, untrained"]
    assert record["largest_gap_of_one_draw_with_the_posterior"] < 2e-5
    chunking = record["chunking"]
    assert chunking["num_samples"] == record["num_samples"][-1]
    assert chunking["largest_difference_of_bounds"] < 1e-5
    chunked, whole = chunking["megabytes_by_samples_per_pass"].values()
    assert chunked < whole


def test_the_masses_of_the_normal_density_are_those_of_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    cdf = scipy_stats.norm.cdf(np.arange(gap.LEVELS + 1), gap.LOC, gap.SCALE)
    np.testing.assert_allclose(gap.exact_mass(), np.diff(cdf), rtol=1e-9)


def test_every_file_is_a_figure_that_the_command_names(capsys):
    figures.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    files = [info.name for info in pkgutil.iter_modules([str(FOLDER)]) if info.name[0] != "_"]
    assert [line.split()[0] for line in lines] == sorted(set(files) - {"registry"})
    assert all(len(line.split()) > 5 for line in lines)


def test_small_sizes_are_options_of_their_figure():
    for name, one in registry.figures().items():
        assert one.name == name
        assert one.sizes(quick=True).keys() <= one.options - {"out", "seed"}
        assert one.sizes(quick=True)
        assert not one.sizes(quick=False)


def test_a_picture_can_have_a_name_of_its_own(tmp_path, capsys):
    values = tmp_path / "values.npy"
    np.save(values, np.arange(400).reshape(40, 10) % 5)
    out = tmp_path / "new" / "x.png"
    command = ["pixel_histogram", "--data", str(values), "--num-levels", "7", "--log"]
    figures.main([*command, "--out", str(out)])
    assert capsys.readouterr().out == f"wrote {out} and {out.with_suffix('.json')}\n"
    share = json.loads(out.with_suffix(".json").read_text())["share"]
    np.testing.assert_allclose(share, [0.2] * 5 + [0, 0], atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [],
            "expected a figure, one of autoencoder, degenerate, ",
        ),
        (["gaps"], "got gaps"),
        (["gap", "--out", "x.jpg"], "--out must be a folder or end in .png, got x.jpg"),
        (["gap", "--data", "digits"], "--data is no option of gap"),
        (["hypercubes", "--steps", "0"], "expected --steps >= 1, got 0"),
        (["pixel_histogram", "--steps", "3"], "--steps is no option of pixel_histogram"),
        (["pixel_histogram", "--data", "two_moons"], "two_moons has no levels"),
        (["pixel_histogram", "--data", "digit"], "unknown data set 'digit'"),
    ],
)
def test_bad_commands_say_what_to_do(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        figures.main(options)
    assert str(stopped.value).startswith("error: ")
    assert message in str(stopped.value)
    assert not list(tmp_path.iterdir())
