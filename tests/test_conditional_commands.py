"""The commands on conditional runs, on models with latents of all kinds, and on models without: untrained and tiny."""

import csv
import dataclasses
import functools
import json
import pathlib
import types

import jax
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import scramble
from experiments.commands import attributes, evaluate, interpolate, outliers, sample, score, train
from experiments.configs import load_config
from experiments.run.data import load_data
from experiments.run.finished import load_run
from experiments.run.pictures import write_pictures

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("x32")

COUPLINGS = {"depth": 2, "width": 4, "hidden_layers": 1}
# Name: config, sizes of its model, and what else of the config is changed; data as "{file}" are in FILES.
RUNS = {
    "digits": ("realnvp_digits", COUPLINGS, {"conditional": True}),
    "plain": ("realnvp_digits", COUPLINGS, {}),
    "colour": (
        "realnvp_digits",
        COUPLINGS,
        {"conditional": True, "data": "{colour}", "num_levels": 256},
    ),
    "plane": ("realnvp_two_moons", COUPLINGS, {"conditional": True, "data": "{plane}"}),
    "table": ("realnvp_two_moons", COUPLINGS, {"conditional": True, "data": "{table}"}),
    "conditions": ("realnvp_two_moons", COUPLINGS, {"conditional": True, "data": "{conditions}"}),
    "pixelcnn": (
        "pixelcnnpp_digits",
        {"width": 4, "depth": 1, "resolutions": 1, "num_components": 1},
        {"conditional": True},
    ),
    "vae": ("vae_digits", {"width": 8, "depth": 1, "latent_dim": 2}, {}),
    "hierarchical": ("hierarchical_vae_digits", {"width": 4, "latent_dims": (2, 2)}, {}),
    "iaf": ("iaf_vae_digits", {"width": 4, "depth": 1, "resolutions": 1, "latent_channels": 1}, {}),
    "vlae": (
        "vlae_digits",
        {"width": 4, "depth": 1, "latent_dim": 2, "pixel_width": 4, "num_components": 1},
        {},
    ),
    "gan": (
        "gan_digits",
        {"generator_widths": (4,), "discriminator_widths": (4,), "latent_dim": 3},
        {},
    ),
    "resnet": ("resnet_digits", {"filters": (4, 4), "units": (1,)}, {}),
}
ROWS, NAMES = 60, np.array(["red", "a green", "blue"])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, pathlib.Path]:
    folder, random = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    points = (random.normal(size=(ROWS, 2)) + labels[:, None]).astype(np.float32)
    colour = random.randint(0, 256, (ROWS, 6, 10, 3)).astype(np.uint8)
    arrays = {
        "colour": {"x": colour, "labels": labels, "label_names": NAMES},
        "recoloured": {"x": colour[::-1], "labels": np.arange(ROWS) % 7},
        "plane": {"x": points, "labels": labels, "label_names": NAMES},
        "table": {"x": random.normal(size=(ROWS, 5)), "labels": labels},
        "conditions": {"x": points, "labels": random.normal(size=(ROWS, 2))},
    }
    for name, values in arrays.items():
        np.savez(folder / f"{name}.npz", **values)
    np.save(folder / "unlabelled.npy", points)
    np.save(folder / "image.npy", dgm.data.load_dataset("digits").test[3])
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def run(tmp_path_factory, files, x32):
    """The folder of a run by name, made when it is asked for."""
    del x32
    root = tmp_path_factory.mktemp("runs")

    @functools.cache
    def made(name: str) -> pathlib.Path:
        config_name, sizes, changes = RUNS[name]
        config = load_config(config_name)
        if "data" in changes:
            changes = changes | {"data": changes["data"].format(**files)}
        model = dataclasses.replace(config.model, **sizes)
        config = dataclasses.replace(config, model=model, **changes)
        dgm.training.claim(root / name, train.settings_of(config))
        built = config.model.build(load_data(config), nnx.Rngs(0), conditional=config.conditional)
        if config.conditional and config.model.system == "realnvp":
            # Flows start as the identity, whatever their context.
            built = scramble(built, jax.random.key(1), scale=0.3)
        dgm.save(root / name / "model", built)
        return root / name

    return made


@pytest.fixture
def grids(monkeypatch) -> list:
    """What was asked of `dgmjax.plots.image_grid`, which draws it too."""
    seen, draw = [], dgm.plots.image_grid

    def spy(images, path, **options):
        seen.append((np.asarray(images), options))
        return draw(images, path, **options)

    monkeypatch.setattr(dgm.plots, "image_grid", spy)
    return seen


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("digits", ["3", "3", "7"], [3, 3, 7, 3, 3, 7, 3, 3]),
        ("digits", [], [0, 1, 2, 3, 4, 5, 6, 7]),
        ("table", ["2", "0"], [2, 0, 2, 0, 2, 0, 2, 0]),
        ("colour", ["blue", "a green"], [2, 1, 2, 1, 2, 1, 2, 1]),
        ("pixelcnn", ["9"], [9] * 8),
    ],
)
def test_samples_have_the_classes_asked_for_and_their_labels(
    name, classes, expected, run, tmp_path
):
    out = tmp_path / "new" / "s.npy"
    options = ["--classes", *classes] if classes else []
    sample.main([str(run(name)), "--num", "8", "--seed", "5", *options, "--out", str(out)])
    labels = np.load(out.with_name("s_labels.npy"))
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int32
    model = dgm.load(run(name) / "model")
    context = np.eye(*model.context_shape, dtype=np.float32)[labels]
    direct = jax.jit(lambda model: model.sample(seed=jax.random.key(5), context=context))(model)
    np.testing.assert_array_equal(np.load(out), direct)


def test_labels_that_are_conditions_are_those_of_test_events(run, files, tmp_path):
    sample.main([str(run("conditions")), "--num", "8", "--out", str(tmp_path / "s.npy")])
    expected = dgm.data.load_dataset(str(files["conditions"])).labels["test"]
    np.testing.assert_allclose(np.load(tmp_path / "s_labels.npy"), np.resize(expected, (8, 2)))


@pytest.mark.parametrize(
    ("name", "options", "num", "labels"),
    [
        ("digits", ["--classes", "3", "3", "7", "--num", "8"], 8, ["3", "3", "7"]),
        ("digits", [], 64, list("0123456789")),
        ("digits", ["--num", "4"], 4, list("0123")),
        ("colour", ["--classes", "1", "0", "--num", "5"], 5, ["a green", "red"]),
        ("plain", ["--num", "5"], 5, None),
    ],
)
def test_a_row_of_a_picture_has_the_name_of_its_class(
    name, options, num, labels, run, tmp_path, grids
):
    sample.main([str(run(name)), *options, "--out", str(tmp_path / "s.png")])
    ((images, asked),) = grids
    assert len(images) == num
    assert asked["row_labels"] == labels
    assert images.shape[1:] == ((6, 10, 3) if name == "colour" else (8, 8, 1))


@pytest.mark.parametrize(
    ("name", "options", "num", "classes"),
    [
        ("plane", [], 5_000, {0, 1, 2}),
        ("plane", ["--classes", "blue", "0", "--num", "30"], 30, {0, 2}),
        ("conditions", ["--num", "30"], 30, None),
    ],
)
def test_points_have_the_colour_of_their_class(
    name, options, num, classes, run, tmp_path, monkeypatch
):
    seen, draw = [], dgm.plots.density_2d

    def spy(log_prob, path, **given):
        seen.append((log_prob, given))
        return draw(log_prob, path, **given, resolution=8)

    monkeypatch.setattr(dgm.plots, "density_2d", spy)
    sample.main([str(run(name)), *options, "--out", str(tmp_path / "s.png")])
    ((log_prob, given),) = seen
    assert len(given["samples"]) == num
    if classes is None:
        assert given["classes"] is None
        return
    assert set(given["classes"][0]) == set(given["classes"][1]) == classes
    assert given["class_names"] == tuple(NAMES)
    model, points = dgm.load(run(name) / "model"), np.asarray(given["samples"][:7])
    density = np.mean(
        [np.exp(model.log_prob(points, np.eye(3, dtype=np.float32)[c])) for c in classes], axis=0
    )
    np.testing.assert_allclose(np.exp(jax.jit(log_prob)(points)), density, rtol=1e-4)


def test_the_end_of_a_training_leaves_labels_beside_samples_without_a_picture(run, tmp_path):
    config, model, dataset = load_run(run("table"))
    history = [{"step": step, "split": "train", "nats": 2.0 - step} for step in range(2)]
    fitted = types.SimpleNamespace(model=model, history=history, best_step=1)
    write_pictures(tmp_path, config, fitted, dataset, None)
    labels = np.load(tmp_path / "samples" / "final_labels.npy")
    np.testing.assert_array_equal(labels, np.arange(1_000) % 3)
    assert np.load(tmp_path / "samples" / "final.npy").shape == (1_000, 5)


def given_each_class(model, x):
    return np.stack([model.log_prob(x, row) for row in np.eye(3, dtype=np.float32)])


@pytest.mark.parametrize("against", ["recoloured", "unlabelled", "conditions"])
def test_outliers_of_a_conditional_run_need_no_labels_of_the_other_data(
    against, run, files, tmp_path, capsys
):
    """Likelihoods by hand: those of all classes with their weights, or of one."""
    name = "colour" if against == "recoloured" else "plane"
    out = tmp_path / "o.png"
    command = [str(run(name)), "--against", str(files[against]), "--out", str(out)]
    outliers.main(command)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["conditioning"] == "marginal over 3 classes (empirical prior)"
    assert f"{record['bound']}, {record['conditioning']}: " in capsys.readouterr().out
    assert record["rows"] == {"train": 48, "inside": 6, "outside": 6}
    if name == "colour":
        return
    model = dgm.load(run(name) / "model")
    dataset, other = (dgm.data.load_dataset(str(files[name])) for name in (name, against))
    counts = np.bincount(dataset.labels["train"])
    for prior, weights in (("empirical", counts / 48), ("uniform", np.full(3, 1 / 3))):
        outliers.main([*command, "--prior", prior])
        record = json.loads(out.with_suffix(".json").read_text())
        assert f"({prior} prior)" in record["conditioning"]
        for key, x in (("inside", dataset.test), ("outside", other.test)):
            density = np.einsum("c,cn->n", weights, np.exp(given_each_class(model, x)))
            nats = -np.log(density).mean()
            np.testing.assert_allclose(record["nats"][key], nats, rtol=1e-4)
    outliers.main([*command, "--class", "red"])
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["conditioning"] == "given class red"
    own = dataset.test[dataset.labels["test"] == 0]
    assert record["rows"]["inside"] == len(own)
    for key, x in (("inside", own), ("outside", other.test)):
        nats = -given_each_class(model, x)[0].mean()
        np.testing.assert_allclose(record["nats"][key], nats, rtol=1e-4)


def test_likelihoods_of_rows_are_written_in_their_order(run, files, tmp_path, capsys):
    model, dataset = dgm.load(run("plane") / "model"), dgm.data.load_dataset(str(files["plane"]))
    expected = np.asarray(model.log_prob(dataset.train, dataset.contexts("train")))
    for name in ("rows.npy", "rows.csv"):
        out = tmp_path / name
        evaluate.main([str(run("plane")), "--split", "train", "--rows", str(out)])
        assert f"wrote {out}" in capsys.readouterr().out
        if name == "rows.npy":
            found = np.load(out)
        else:
            header, *rows = csv.reader(out.read_text().splitlines())
            assert header == ["row", "log-likelihood [nats], exact"]
            assert [int(row[0]) for row in rows] == list(range(48))
            found = np.array([float(row[1]) for row in rows])
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        record = json.loads(out.with_suffix(".json").read_text())
        assert (record["bound"], record["unit"]) == ("exact", "nats")
        assert (record["split"], record["rows"]) == ("train", 48)
        assert abs(record["nats"] + found.mean()) < 1e-3
    evaluate.main([str(run("vae")), "--importance-samples", "2", "--rows", str(out)])
    assert "importance-weighted bound, K=2" in out.read_text().splitlines()[0]


@pytest.mark.parametrize("name", ["vae", "hierarchical", "iaf", "vlae", "gan", "plain", "colour"])
def test_every_model_with_latents_has_paths(name, run, tmp_path, capsys, grids):
    out = tmp_path / "i.png"
    interpolate.main([str(run(name)), "--rows", "2", "--num", "3", "--out", str(out)])
    printed = capsys.readouterr().out
    ((images, asked),) = grids
    assert len(images) == 6
    if name == "gan":
        assert "the ends are random latents" in printed
        for options in (["--kind", "spherical"], ["--seed", "1"]):
            command = [str(run(name)), "--rows", "2", "--num", "3", *options, "--out", str(out)]
            interpolate.main(command)
        assert not np.array_equal(grids[1][0], images)
        assert not np.array_equal(grids[2][0], images)
        return
    assert "the ends differ from the test images by" in printed
    if name == "colour":
        assert images.shape[1:] == (6, 10, 3)
        assert set(asked["row_labels"]) <= set(NAMES)
    else:
        assert (asked["columns"], asked["row_labels"]) == (3, None)


def test_paths_between_chosen_images(run, files, tmp_path, capsys, grids):
    test = dgm.data.load_dataset("digits")
    out = ["--num", "3", "--out", str(tmp_path / "i.png")]
    labels = test.labels["test"]
    interpolate.main([str(run("digits")), "--pair", "3", "7", "0", "1", *out])
    interpolate.main([str(run("plain")), "--pair", str(files["image"]), "7", *out])
    assert capsys.readouterr().out.count("by 0 at most") == 2
    assert grids[0][1]["row_labels"] == [
        f"{labels[3]} to {labels[7]}",
        f"{labels[0]} to {labels[1]}",
    ]
    # Of a grid with names the first images are those of the first column.
    np.testing.assert_array_equal(grids[0][0][[0, 1, 4, 5]].reshape(4, 64), test.test[[3, 0, 7, 1]])
    np.testing.assert_array_equal(grids[1][0][[0, 2]].reshape(2, 64), test.test[[3, 7]])
    # Between two classes the condition goes along.
    ends, contexts = test.test[[3, 7]], test.contexts("test")[[3, 7]]
    path = dgm.analysis.interpolate(
        dgm.load(run("digits") / "model"), *ends, 3, context=contexts[0], context2=contexts[1]
    )
    np.testing.assert_array_equal(grids[0][0][2].reshape(64), path[1])
    for kind in ("linear", "spherical"):
        interpolate.main([str(run("digits")), "--pair", "3", "7", "--kind", kind, *out])
    assert not np.array_equal(grids[2][0][1], grids[3][0][1])


def test_the_difference_that_is_printed_is_the_larger_of_both_ends(run, tmp_path, capsys, grids):
    """Scores of reconstructions: the grey image is near its own, the digit is not; their order does not matter."""
    grey, digit = np.full(64, 8, np.uint8), dgm.data.load_dataset("digits").test[7]
    np.save(tmp_path / "grey.npy", grey)
    names = {str(tmp_path / "grey.npy"): grey, "7": digit}
    for pair in (list(names), list(names)[::-1]):
        out = ["--num", "3", "--out", str(tmp_path / "i.png")]
        interpolate.main([str(run("vae")), "--pair", *pair, *out])
        shown = grids[-1][0][[0, 2]].reshape(2, 64)
        differences = np.abs(shown - np.stack([names[name].astype(float) for name in pair])).max(1)
        assert differences.max() > 1.5 * differences.min()
        printed = capsys.readouterr().out.partition(" images by ")[2].split()[0]
        np.testing.assert_allclose(float(printed), differences.max(), rtol=1e-2)


@pytest.mark.parametrize("name", ["vae", "digits"])
def test_attributes_of_codes_and_of_conditional_runs(name, run, tmp_path):
    out = tmp_path / "a.png"
    command = [str(run(name)), "--attribute", "3", "--against", "5", "--rows", "2"]
    attributes.main([*command, "--scored", "5", "--strengths", "0", "1", "--out", str(out)])
    assert json.loads(out.with_suffix(".json").read_text())["scored_rows"] == 5


@pytest.mark.slow
def test_conditional_samples_are_scored(run):
    score.main([str(run("digits")), "--classifier", str(run("resnet")), "--num", "20"])
    found = json.loads((run("digits") / "scores.json").read_text())
    assert found["samples"]["num_samples"] == 20


DIGITS, THREE = ["--against", "digits"], ["--attribute", "3"]
BAD_COMMANDS = {
    "classes of no condition": (
        sample, "plain", ["--classes", "3"],
        "--classes is for runs that are conditional on classes, and realnvp_digits was trained without --conditional",
    ),
    "an unknown class": (
        sample, "colour", ["--classes", "red", "grey"],
        "--classes: unknown class or attribute 'grey'; expected one of red, a green, blue, or a number from 0 to 2",
    ),
    "a class out of range": (sample, "digits", ["--classes", "10"], "a number from 0 to 9"),
    "conditions that are no classes": (
        sample, "conditions", ["--classes", "0"], "are conditions of shape (2,), no classes",
    ),
    "no sample": (sample, "plain", ["--num", "0"], "expected --num >= 1"),
    "a table has no picture": (
        sample, "table", [], "events of shape (5,) have no picture; write the samples with --out",
    ),
    "samples of a classifier": (
        sample, "resnet", [], "resnet_digits is a PreActResNet, which has no samples",
    ),
    "scores of a classifier's samples": (score, "resnet", [], "which has no samples"),
    "a class of no condition": (
        outliers, "plain", [*DIGITS, "--class", "3"], "--class is for runs that are conditional",
    ),
    "an unknown class to score": (
        outliers, "digits", [*DIGITS, "--class", "ten"], "--class: unknown class or attribute 'ten'",
    ),
    "outliers without a likelihood": (
        outliers, "gan", DIGITS, "gan_digits is a GAN, which has no likelihood to score by",
    ),
    "outliers without conditions": (
        outliers, "conditions", ["--against", "{unlabelled}"], "has no labels to condition on",
    ),
    "rows without a likelihood": (
        evaluate, "gan", ["--rows", "r.npy"], "gan_digits has no likelihood, so its rows have none",
    ),
    "rows of a classifier": (evaluate, "resnet", ["--rows", "r.npy"], "has no likelihood"),
    "rows as text": (
        evaluate, "plain", ["--rows", "r.txt"], "--rows must end in .npy or .csv, got r.txt",
    ),
    "paths without latents": (
        interpolate, "pixelcnn", [], "pixelcnnpp_digits is a PixelCNNpp, which has no latents",
    ),
    "paths of a classifier": (interpolate, "resnet", [], "PreActResNet, which has no latents"),
    "images for a GAN": (
        interpolate, "gan", ["--pair", "1", "2"], "gan_digits is a GAN, which has no encoder",
    ),
    "one end": (interpolate, "plain", ["--pair", "1"], "--pair needs two images a path, got 1: 1"),
    "no such image": (
        interpolate, "plain", ["--pair", "1", "447"],
        "--pair: there is no test image 447; the numbers go from 0 to 446",
    ),
    "a file without a class": (
        interpolate, "digits", ["--pair", "1", "{image}"], "is conditional, and a file has no class",
    ),
    "a file of another shape": (
        interpolate, "plain", ["--pair", "1", "{unlabelled}"],
        "unlabelled.npy has shape (60, 2), expected (8, 8, 1)",
    ),
    "no such file": (interpolate, "plain", ["--pair", "1", "none.npy"], "none.npy"),
    "attributes without an encoder": (attributes, "gan", THREE, "which has no encoder"),
    "attributes without latents": (attributes, "pixelcnn", THREE, "which has no latents"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_commands_say_what_to_do(name, run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, of, options, message = BAD_COMMANDS[name]
    options = [word.format(**files) for word in options]
    with pytest.raises(SystemExit) as stopped:
        command.main([str(run(of)), *options])
    assert message in str(stopped.value)
    assert str(stopped.value).startswith("error: ")
    assert not list(tmp_path.iterdir())
