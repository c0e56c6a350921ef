"""The three commands, as a user types them, on runs of seconds."""

import dataclasses
import importlib
import json
import pathlib
import pkgutil

import jax
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
import experiments.configs
from experiments.commands import evaluate, plane, sample, train
from experiments.configs import config_names, load_config
from experiments.settings.config import config_from_dict
from experiments.settings.systems import SYSTEMS

pytestmark = pytest.mark.usefixtures("x32")

SMALL = [
    "--model.depth", "2", "--model.width", "8", "--training.steps", "20",
    "--training.eval-every", "10",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory, x32) -> pathlib.Path:
    del x32
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    train.main(["realnvp_digits", *SMALL, "--workdir", str(workdir)])
    return workdir


@pytest.fixture(scope="module")
def plane_run(tmp_path_factory, x32) -> pathlib.Path:
    del x32
    workdir = tmp_path_factory.mktemp("runs") / "plane"
    train.main(["realnvp_eight_gaussians", *SMALL, "--workdir", str(workdir)])
    return workdir


def test_a_run_leaves_everything_in_its_directory(digits_run):
    result = json.loads((digits_run / "result.json").read_text())
    assert result["test"]["bound"] == "one-sample bound (uniform dequantization)"
    assert result["test"]["rows"] == 447
    nats, bits = result["test"]["nats"], result["test"]["bits_per_dim"]
    assert abs(bits - nats / (64 * np.log(2))) < 1e-4
    assert 90 < nats < 64 * np.log(17)
    assert result["selected_on"] == "validation"
    lines = (digits_run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["step"], r["split"]) for r in records] == [
        (10, "train"), (10, "validation"), (20, "train"), (20, "validation"),
    ]  # fmt: skip
    assert all("bound" in record for record in records)
    assert "steps_per_second" in records[0]
    for name in ("curves.png", "samples/final.png", "config.json", "model/model.json"):
        assert (digits_run / name).stat().st_size > 0
    assert list((digits_run / "tensorboard").glob("events*"))
    assert sorted(p.name for p in (digits_run / "checkpoints").iterdir()) == ["10", "20"]


def test_the_result_line_names_number_unit_and_bound(digits_run, capsys):
    """Running a finished command again prints its result and trains nothing."""
    before = (digits_run / "metrics.jsonl").stat().st_mtime_ns
    train.main(["realnvp_digits", *SMALL, "--workdir", str(digits_run), "--resume"])
    out = capsys.readouterr().out
    assert "realnvp_digits: test log-likelihood -" in out
    assert " nats (" in out
    assert " bits/dim), one-sample bound (uniform dequantization)" in out
    assert (digits_run / "metrics.jsonl").stat().st_mtime_ns == before


def test_evaluate_tightens_with_importance_samples(digits_run, capsys):
    evaluate.main([str(digits_run)])
    evaluate.main([str(digits_run), "--importance-samples", "8", "--split", "validation"])
    out = capsys.readouterr().out
    assert "importance-weighted bound, K=8 (uniform dequantization)" in out
    one = json.loads((digits_run / "evaluation_test_k1_seed0.json").read_text())
    many = json.loads((digits_run / "evaluation_validation_k8_seed0.json").read_text())
    result = json.loads((digits_run / "result.json").read_text())
    assert abs(one["nats"] - result["test"]["nats"]) < 1e-3
    assert many["nats"] < result["validation"]["nats"]


@pytest.mark.slow
def test_sample_writes_pictures_and_numbers(digits_run, plane_run, tmp_path):
    out = tmp_path / "s.npy"
    sample.main([str(digits_run), "--num", "5", "--out", str(out)])
    y = np.load(out)
    assert y.shape == (5, 64)
    assert y.dtype == dgm.data.load_dataset("digits").train.dtype
    for run in (digits_run, plane_run):
        picture = tmp_path / f"{run.name}.png"
        sample.main([str(run), "--temperature", "0.7", "--out", str(picture)])
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_plane_run_reports_the_true_density(plane_run):
    result = json.loads((plane_run / "result.json").read_text())
    assert result["test"]["bound"] == "exact"
    assert result["test"]["nats_of_the_true_density"] < result["test"]["nats"]


@pytest.mark.slow
def test_a_run_shows_what_it_is_and_what_it_costs(tmp_path, capsys):
    """Conditional on the class, in parts, several steps a call, with a trace and pictures along the way."""
    options = [
        "--conditional", "--training.accumulate", "2", "--training.steps-per-call", "5",
        "--profile", "--workdir", str(tmp_path / "run"),
    ]  # fmt: skip
    train.main(["realnvp_digits", *SMALL, *options])
    out = capsys.readouterr().out
    (events,) = (tmp_path / "run" / "tensorboard").glob("events*")
    assert b"samples" in events.read_bytes()  # the tag of the pictures
    for part in (
        "Coupling x 2",
        "(64,)",
        "parameters",
        "compiled in",
        "GFLOP a step",
        "working memory",
    ):
        assert part in out, part
    run = tmp_path / "run"
    assert (run / "samples" / "step_000010.png").exists()
    assert list(run.glob("profile/**/*.xplane.pb"))
    model = dgm.load(run / "model")
    assert model.context_shape == (10,)
    evaluate.main([str(run)])
    nats = json.loads((run / "evaluation_test_k1_seed0.json").read_text())["nats"]
    assert abs(nats - json.loads((run / "result.json").read_text())["test"]["nats"]) < 1e-3
    sample.main([str(run), "--num", "20", "--out", str(tmp_path / "s.npy")])
    assert np.load(tmp_path / "s.npy").shape == (20, 64)


@pytest.mark.slow
def test_the_mode_for_bad_numbers_ends_with_one_message(tmp_path):
    command = ["realnvp_digits", *SMALL, "--debug-nans", "--workdir", str(tmp_path)]
    bad = ["--optimizer.learning-rate", "1e30", "--optimizer.warmup-steps", "0"]
    with pytest.raises(SystemExit, match=r"error: step \d+ gave numbers that are not finite"):
        train.main([*command, *bad, "--model.scale-fn", "exp"])


@pytest.mark.slow
def test_users_data_trains_by_its_path(tmp_path):
    rng = np.random.RandomState(0)
    np.save(tmp_path / "floats.npy", rng.normal(5.0, 3.0, (200, 3)))
    np.save(tmp_path / "levels.npy", rng.randint(0, 4, (200, 3)))
    for name, extra in (("floats", []), ("levels", ["--num-levels", "4"])):
        command = ["realnvp_two_moons", *SMALL, "--data", str(tmp_path / f"{name}.npy"), *extra]
        train.main([*command, "--workdir", str(tmp_path / name)])
        result = json.loads((tmp_path / name / "result.json").read_text())
        assert ("dequantization" in result["test"]["bound"]) == (name == "levels")


BAD_COMMANDS = {
    "unknown config": (["realnvp_digit"], "unknown config 'realnvp_digit'; did you mean realnvp_digits"),
    "unknown data": (["realnvp_digits", "--data", "digit"], "unknown data set 'digit'; did you mean digits"),
    "processes without a run of many": (
        ["realnvp_digits", "--num-processes", "2"], "--process-id are for --distributed",
    ),
    "more devices than there are": (
        ["realnvp_digits", "--num-devices", "64"], "(the devices JAX sees), got 64",
    ),
    "no labels": (["realnvp_two_moons", "--conditional"], "'two_moons' has no labels to condition on"),
    "no such run": (["realnvp_digits", "--resume"], "holds no run to continue; leave --resume out"),
    "levels out of range": (
        ["realnvp_two_moons", "--data", "{levels}", "--num-levels", "3"],
        "must lie in 0 .. 2 for num_levels=3, got 0 .. 3; set num_levels=4",
    ),
    "integers without levels": (
        ["realnvp_two_moons", "--data", "{levels}"],
        "levels.npy holds integers; pass --num-levels 4 to model them as levels 0 .. 3",
    ),
    "floats with levels": (
        ["realnvp_two_moons", "--data", "{floats}", "--num-levels", "3"],
        "train: expected integer levels, got float32",
    ),
    "logit of continuous data": (
        ["realnvp_two_moons", "--model.preprocess", "logit"],
        "'logit' needs integer data with --num-levels, and two_moons is continuous",
    ),
    "bad test split": (
        ["realnvp_two_moons", "--data", "{nan_in_test}"],
        "test: 1 of 20 values are NaN or infinite, the first at index (3, 1)",
    ),
    "noise for a model without it": (
        ["vae_digits", "--dequantization.kind", "variational"],
        "'variational' is noise of flows on integers, and vae on digits takes data as they are",
    ),
    "noise for floats": (
        ["realnvp_two_moons", "--dequantization.kind", "logit_normal"],
        "realnvp on two_moons takes continuous data; leave --dequantization.kind out",
    ),
    "checkerboard without image": (
        ["realnvp_two_moons", "--model.mask", "checkerboard"],
        "'checkerboard' needs images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_commands_say_what_to_do(name, tmp_path):
    np.save(tmp_path / "levels.npy", np.arange(80).reshape(40, 2) % 4)
    np.save(tmp_path / "floats.npy", np.random.RandomState(0).normal(size=(40, 2)))
    x = np.random.RandomState(0).normal(size=(40, 2))
    x[33, 1] = np.nan
    np.savez(tmp_path / "nan_in_test.npz", train=x[:20], validation=x[20:30], test=x[30:])
    command, message = BAD_COMMANDS[name]
    paths = {path.stem: str(path) for path in tmp_path.glob("*.np*")}
    command = [word.format(**paths) for word in command]
    with pytest.raises(SystemExit) as stopped:
        train.main([*command, "--workdir", str(tmp_path / "run")])
    assert message in str(stopped.value)


def test_an_unknown_option_is_refused_with_a_suggestion(capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main(["realnvp_digits", "--optimizer.learning-rat", "0.1"])
    assert stopped.value.code == 2
    assert "--optimizer.learning-rate" in capsys.readouterr().err


def test_a_work_directory_of_another_config_is_refused(digits_run):
    before = (digits_run / "result.json").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        train.main(["realnvp_digits", *SMALL, "--seed", "7", "--workdir", str(digits_run)])
    assert "belongs to another run: seed is 0 there and 7 here" in str(stopped.value)
    assert (digits_run / "result.json").read_bytes() == before


def test_an_unfinished_run_is_not_evaluated(tmp_path):
    config = load_config("realnvp_digits")
    dgm.training.claim(tmp_path, train.settings_of(config))
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([str(tmp_path)])
    assert "has no trained model yet; finish it with: python -m experiments.train" in str(
        stopped.value
    )


@pytest.mark.parametrize("name", config_names())
def test_every_config_survives_its_run_directory(name):
    config = load_config(name)
    assert config.name == name
    assert config_from_dict(json.loads(json.dumps(train.settings_of(config)))) == config


FILES = [module.name for module in pkgutil.iter_modules(experiments.configs.__path__)]


@pytest.mark.parametrize("name", FILES)
def test_every_config_file_says_what_it_expects(name):
    module = importlib.import_module(f"experiments.configs.{name}")
    configs = getattr(module, "CONFIGS", {name: getattr(module, "CONFIG", None)})
    command = "<system>_<toy>" if len(configs) > 1 else name
    for part in ("Reproduces: ", f"Command: python -m experiments.train {command}", "Expected: "):
        assert part in module.__doc__
    assert "Cost: " in module.__doc__
    assert "XX" not in module.__doc__


@pytest.mark.parametrize("data", ["two_moons", pytest.param("digits", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "system", [name for name in SYSTEMS if f"{name}_two_moons" in config_names()]
)
@pytest.mark.one_in(4)
def test_every_system_trains(system, data):
    """One step of the configs, with fewer layers."""
    config = load_config(f"{system}_{data}")
    dataset = dgm.data.load_dataset(config.data)
    model = dataclasses.replace(config.model, depth=2, width=66).build(dataset, nnx.Rngs(0))
    fitted = dgm.fit(
        model,
        dataset.train[:64],
        seed=jax.random.key(0),
        steps=1,
        batch_size=32,
        watch=dgm.Watch(progress=False),
    )
    assert np.isfinite(fitted.history[-1]["nats"])


@pytest.mark.slow
def test_the_suite_writes_its_tables(tmp_path):
    options = plane.Options(("radial",), ("circles",), tmp_path, steps=2)
    plane.run_suite(options)
    table = (tmp_path / "plane.md").read_text()
    assert "| system | circles |" in table
    assert table.count("\n| ") == 3
    assert (tmp_path / "plane.png").read_bytes()[:4] == b"\x89PNG"
