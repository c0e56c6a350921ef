"""The commands on trained flows, as a user types them, on runs of seconds."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import scramble
from experiments.commands import attributes, evaluate, interpolate, outliers, train
from experiments.configs import load_config
from experiments.run.data import load_data
from experiments.run.finished import load_other_data

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("x32")

SMALL = [
    "--model.depth", "2", "--model.width", "16", "--training.steps", "40",
    "--training.eval-every", "40", "--augment.warp", "0", "--augment.shift", "0", "--model.dropout", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory, x32) -> pathlib.Path:
    del x32
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train.main(["realnvp_digits", *SMALL, "--workdir", str(folder)])
    return folder


def untrained_run(folder: pathlib.Path, name: str, **changes) -> pathlib.Path:
    """What a run leaves of itself, without its training."""
    config = load_config(name)
    model = dataclasses.replace(config.model, depth=2, width=16)
    config = dataclasses.replace(config, model=model, **changes)
    dgm.training.claim(folder, train.settings_of(config))
    built = model.build(load_data(config), nnx.Rngs(0), conditional=config.conditional)
    dgm.save(folder / "model", scramble(built, jax.random.key(1), scale=0.3))
    return folder


@pytest.fixture(scope="module")
def conditional_run(tmp_path_factory, x32) -> pathlib.Path:
    del x32
    return untrained_run(
        tmp_path_factory.mktemp("runs") / "conditional", "realnvp_digits", conditional=True
    )


@pytest.fixture(scope="module")
def plane_run(tmp_path_factory, x32) -> pathlib.Path:
    del x32
    return untrained_run(tmp_path_factory.mktemp("runs") / "plane", "realnvp_two_moons")


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> pathlib.Path:
    """Another data set of the digits' shape and levels."""
    path = tmp_path_factory.mktemp("data") / "noise.npy"
    np.save(path, np.random.RandomState(0).randint(0, 17, (600, 64)))
    return path


def tiles(path: pathlib.Path, rows: int, columns: int, size: int = 8) -> np.ndarray:
    """The grid's images, ``[rows, columns, size, size]``, one brightness a pixel."""
    picture = matplotlib.image.imread(path)[..., 0]
    width = (picture.shape[1] - 1) // columns
    # The scale of the grid: columns of size * scale + gap, gap = max(1, scale // 4).
    scale = next(
        s
        for s in range(1, 100)
        if columns * (size * s + max(1, s // 4)) + max(1, s // 4) == picture.shape[1]
    )
    gap, width = max(1, scale // 4), size * scale + max(1, scale // 4)
    grid = picture[-(rows * width + gap) :]  # below the title
    centres = gap + scale // 2 + scale * np.arange(size)
    index = [centres + width * number for number in range(max(rows, columns))]
    return np.array(
        [[grid[np.ix_(index[i], index[j])] for j in range(columns)] for i in range(rows)]
    )


def test_every_row_of_an_interpolation_ends_at_test_images(digits_run, tmp_path, capsys):
    out = tmp_path / "paths.png"
    pictures = []
    for options in (["--kind", "linear"], ["--kind", "spherical"], ["--seed", "1"]):
        interpolate.main(
            [str(digits_run), "--rows", "3", "--num", "4", *options, "--out", str(out)]
        )
        assert "the ends differ from the test images by 0 at most" in capsys.readouterr().out
        pictures.append(tiles(out, 3, 4))
    linear, spherical, other_seed = pictures
    test = dgm.data.load_dataset("digits").test.reshape(-1, 8, 8)
    known = {image.tobytes() for image in test}
    for row in linear:
        assert {np.rint(16 * row[i]).astype(np.uint8).tobytes() for i in (0, -1)} <= known
    np.testing.assert_array_equal(linear[:, [0, -1]], spherical[:, [0, -1]])
    assert not np.array_equal(linear[:, 1], spherical[:, 1])
    assert not np.array_equal(linear[:, 0], other_seed[:, 0])


def test_ends_of_a_conditional_interpolation_share_their_class(conditional_run, tmp_path, capsys):
    out = tmp_path / "paths.png"
    interpolate.main([str(conditional_run), "--rows", "10", "--num", "3", "--out", str(out)])
    assert "by 0 at most" in capsys.readouterr().out
    context = dgm.data.load_dataset("digits").contexts("test")
    first, second = interpolate.choose_pairs(len(context), context, 12, 0)
    np.testing.assert_array_equal(context[first], context[second])
    assert len(set(first) | set(second)) == 24
    assert context[first[:10]].sum() == np.linalg.matrix_rank(context[first[:10]]) == 10


def test_attributes_move_digits_from_one_class_to_another(digits_run, tmp_path, capsys):
    out = tmp_path / "new" / "attributes.png"
    command = [str(digits_run), "--attribute", "3", "--against", "5", "--rows", "2"]
    attributes.main([*command, "--strengths", "1", "-1", "0", "--out", str(out)])
    printed = capsys.readouterr().out
    record = json.loads(out.with_suffix(".json").read_text())
    dataset = dgm.data.load_dataset("digits")
    of = {split: dataset.labels[split] for split in ("train", "test")}
    assert record["train_rows"] == np.isin(of["train"], [3, 5]).sum()
    assert record["scored_rows"] == (of["test"] == 5).sum()
    assert record["strengths"] == [-1, 0, 1]
    assert record["classifier_accuracy"] > 0.9
    assert record["monotone"] is True
    assert record["mean_log_odds"] == sorted(record["mean_log_odds"])
    assert record["mean_probability"][2] > record["mean_probability"][0]
    assert "3 against 5: direction from" in printed
    assert "log-odds monotone in the strength: yes" in printed
    known = {image.tobytes() for image in dataset.test[of["test"] == 5]}
    shown = np.rint(16 * tiles(out, 2, 3)).astype(np.uint8)
    assert {row[1].tobytes() for row in shown} <= known  # strength 0
    assert not np.array_equal(shown[:, 0], shown[:, 2])


@pytest.mark.slow
def test_attributes_of_a_conditional_run_against_all_others(conditional_run, tmp_path):
    out = tmp_path / "attributes.png"
    command = [str(conditional_run), "--attribute", "0", "--num", "100", "--scored", "20"]
    attributes.main([*command, "--out", str(out)])
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["against"] == "all others"
    assert (record["train_rows"], record["scored_rows"]) == (100, 20)
    assert len(record["strengths"]) == 7


def test_binary_attributes_are_columns_of_the_labels():
    digits = dgm.data.load_dataset("digits")
    columns = {
        split: np.stack([labels % 2, 2 * (labels > 4) - 1], axis=1)
        for split, labels in digits.labels.items()
    }
    dataset = dataclasses.replace(digits, labels=columns, label_names=("odd", "large"))
    options = attributes.Options(pathlib.Path(), "odd")
    split = attributes.labelled(
        dataset, "test", options, np.random.default_rng(0), conditional=True
    )
    assert len(split.x) == len(digits.test)
    np.testing.assert_array_equal(split.has, split.context[:, 0])
    options = dataclasses.replace(options, attribute="1", against="odd")
    split = attributes.labelled(
        dataset, "test", options, np.random.default_rng(0), conditional=True
    )
    np.testing.assert_array_equal(split.has, split.context[:, 1] == 1)
    assert (split.context[~split.has] == [1, -1]).all()


def test_outliers_are_told_from_the_runs_own_data(digits_run, noise, tmp_path, capsys):
    out = tmp_path / "outliers.png"
    command = [str(digits_run), "--against", str(noise), "--num", "50", "--out", str(out)]
    outliers.main(command)
    printed = capsys.readouterr().out
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["rows"] == {"train": 50, "inside": 50, "outside": 50}
    assert record["bound"] == "one-sample bound (uniform dequantization)"
    assert (record["inside"], record["outside"]) == ("digits", "noise")
    assert record["bits_per_dim"]["outside"] > record["bits_per_dim"]["inside"] + 1
    assert set(record["auroc"]) == {"likelihood", "typicality", "complexity"}
    assert record["auroc"]["likelihood"] > 0.99
    assert record["auroc"]["typicality"] > 0.9
    said = "one-sample bound (uniform dequantization): negative log-likelihood of digits test"
    assert said in printed
    for name in ("likelihood", "typicality", "complexity"):
        assert f"AUROC of {name}: " in printed
    for name in ("outliers", "outliers_typicality", "outliers_complexity"):
        picture = matplotlib.image.imread(tmp_path / f"{name}.png")
        assert picture.shape[:2] == (512, 896)
        assert picture.std() > 0


def test_continuous_events_have_no_complexity(plane_run, tmp_path):
    out = tmp_path / "outliers.png"
    outliers.main(
        [str(plane_run), "--against", "eight_gaussians", "--num", "200", "--out", str(out)]
    )
    record = json.loads(out.with_suffix(".json").read_text())
    assert set(record["auroc"]) == {"likelihood", "typicality"}
    assert record["bound"] == "exact"


def test_evaluate_takes_other_data_of_the_same_kind(digits_run, noise, capsys):
    evaluate.main([str(digits_run), "--data", str(noise)])
    evaluate.main([str(digits_run)])
    other, own = capsys.readouterr().out.splitlines()
    assert other.startswith("realnvp_digits, noise test: ")
    assert own.startswith("realnvp_digits, test: ")
    records = [
        json.loads((digits_run / f"evaluation_{name}_k1_seed0.json").read_text())
        for name in ("noise_test", "test")
    ]
    assert [record["data"] for record in records] == ["noise", "digits"]
    assert records[0]["nats"] > records[1]["nats"]
    assert records[0]["rows"] == 60


OUTLIERS, THREE = ["--against", "digits"], ["--attribute", "3"]
BAD_COMMANDS = {
    "other shape": (
        outliers, "digits", ["--against", "two_moons"],
        "has events of shape (64,), as in digits, but two_moons has (2,); choose data of the same kind",
    ),
    "other levels": (
        evaluate, "digits", ["--data", "{levels}"],
        "values must lie in 0 .. 16 for num_levels=17, got 0 .. 20",
    ),
    "floats": (
        evaluate, "digits", ["--data", "{floats}"], "expected integer levels, got float32",
    ),
    "unknown data": (
        outliers, "digits", ["--against", "digit"], "unknown data set 'digit'; did you mean digits",
    ),
    "no labels": (
        evaluate, "conditional", ["--data", "{noise}"], "has no labels to condition on",
    ),
    "one row": (outliers, "digits", [*OUTLIERS, "--num", "1"], "expected --num >= 2, got 1"),
    "no picture of outliers": (
        outliers, "digits", [*OUTLIERS, "--out", "x.npy"], "--out must end in .png, got x.npy",
    ),
    "no images to interpolate": (interpolate, "plane", [], "two_moons holds no images"),
    "one position": (
        interpolate, "digits", ["--num", "1"],
        "expected --rows >= 1 and --num >= 2 (both ends), got 6 and 1",
    ),
    "too many pairs": (
        interpolate, "digits", ["--rows", "300"],
        "--rows 300 needs as many pairs of test images; there are 223",
    ),
    "no picture": (
        interpolate, "digits", ["--out", "x.jpg"], "--out must end in .png, got x.jpg",
    ),
    "no run": (interpolate, "nothing", [], "nothing"),
    "no images with attributes": (attributes, "plane", THREE, "two_moons holds no images"),
    "unknown attribute": (
        attributes, "digits", ["--attribute", "smiling"],
        "--attribute: unknown class or attribute 'smiling'; expected one of 0, 1, 2",
    ),
    "against itself": (
        attributes, "digits", [*THREE, "--against", "3"],
        "got 104 and 0; choose another --attribute or --against",
    ),
    "no rows of attributes": (
        attributes, "digits", [*THREE, "--rows", "0"], "expected --rows, --num, --scored >= 1",
    ),
    "no picture of attributes": (
        attributes, "digits", [*THREE, "--out", "x"], "--out must end in .png, got x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_commands_say_what_to_do(
    name, digits_run, conditional_run, plane_run, noise, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("levels.npy", np.arange(40 * 64).reshape(40, 64) % 21)
    np.save("floats.npy", np.zeros((40, 64)))
    files = {"noise": noise} | {path.stem: path for path in tmp_path.glob("*.npy")}
    runs = {"digits": digits_run, "conditional": conditional_run, "plane": plane_run}
    command, run, options, message = BAD_COMMANDS[name]
    options = [word.format(**files) for word in options]
    with pytest.raises(SystemExit) as stopped:
        command.main([str(runs.get(run, run)), *options])
    assert message in str(stopped.value)
    assert str(stopped.value).startswith("error: ")
    assert not list(tmp_path.glob("*.png"))


def test_other_images_must_have_the_same_shape_of_image(tmp_path):
    config = load_config("realnvp_digits")
    dataset = load_data(config)
    wide = dataclasses.replace(dataset, image_shape=(4, 16, 1))
    with pytest.raises(
        ValueError, match=r"has images of shape \(4, 16, 1\).*digits has \(8, 8, 1\)"
    ):
        load_other_data(config, wide, "digits")
