"""The command goes on: longer, at another rate, from the weights of another run."""

import json
import pathlib

import numpy as np
import pytest

import dgmjax as dgm
from experiments.commands import train

pytestmark = pytest.mark.usefixtures("x32")
SMALL = [
    "--model.depth", "2", "--model.width", "8", "--training.eval-every", "10", "--training.batch-size", "32",
]  # fmt: skip


def run(workdir: pathlib.Path, *options: str, steps: int = 10) -> dict:
    command = ["realnvp_digits", *SMALL, "--training.steps", str(steps), *options]
    train.main([*command, "--workdir", str(workdir)])
    return json.loads((workdir / "result.json").read_text())


def records(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_finished_run_is_made_longer(tmp_path, capsys):
    folder = tmp_path / "run"
    first = run(folder)
    assert run(folder, steps=20)["steps"] == 20
    assert "training.steps: 10 before, 20 from here on" in capsys.readouterr().out
    assert [r["step"] for r in records(folder) if r["split"] == "train"] == [10, 20]
    before = (folder / "config.json").read_bytes()
    last = run(folder, "--optimizer.learning-rate", "1e-4", "--training.eval-every", "5", steps=30)
    assert (first["steps"], last["steps"]) == (10, 30)
    config = dgm.training.read_settings(folder)
    assert (config["training"]["steps"], config["optimizer"]["learning_rate"]) == (30, 1e-4)
    rate = json.loads(before)["optimizer"]["learning_rate"]
    changes = json.loads((folder / "config.json").read_text())["changes"]
    assert changes == [
        {"step": 10, "changed": {"training.steps": [10, 20]}},
        {
            "step": 20,
            "changed": {
                "optimizer.learning_rate": [rate, 1e-4],
                "training.eval_every": [10, 5],
                "training.steps": [20, 30],
            },
        },
    ]
    assert [r["step"] for r in records(folder) if r["split"] == "settings"] == [10, 20]
    assert [r["step"] for r in records(folder) if r["split"] == "train"] == [10, 20, 25, 30]
    assert (folder / "curves.png").stat().st_size > 0
    # What cannot go on changes nothing.
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for options, message in (
        (["--optimizer.algorithm", "sgd"], "optimizer is '"),
        (["--model.depth", "3"], "model.depth is 2 there and 3 here"),
        (["--training.steps", "7"], "has taken 30 steps already"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(folder, "--optimizer.learning-rate", "1e-3", *options, steps=40)
        assert message in str(stopped.value)
        now = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert {p for p in files if now.get(p) != files[p]} == set()


def test_the_weights_of_a_run_start_another_on_other_data(tmp_path, capsys):
    mask = ["--model.mask", "alternating"]  # a file of rows is not known to hold images
    first = run(tmp_path / "first", *mask)
    digits = dgm.data.load_dataset("digits")
    np.save(tmp_path / "other.npy", 16 - digits.train[:300])
    options = [
        "--data", str(tmp_path / "other.npy"), "--num-levels", "17", "--init-from", str(tmp_path / "first"),
    ]  # fmt: skip
    second = run(tmp_path / "second", *mask, *options, "--optimizer.learning-rate", "1e-12")
    out = capsys.readouterr().out
    assert "weights of " in out
    assert " 0 of the source not used" in out
    models = [dgm.load(tmp_path / name / "model") for name in ("first", "second")]
    ours, theirs = (dgm.training.partition(model) for model in models)
    for name, array in ours[0].items():
        np.testing.assert_allclose(theirs[0][name], array, atol=1e-6)
    for name, array in ours[1].items():
        np.testing.assert_array_equal(theirs[1][name], array)
    assert second["test"]["nats"] > first["test"]["nats"]
    assert dgm.training.read_settings(tmp_path / "second")["init_from"] == str(tmp_path / "first")
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "third", "--init-from", str(tmp_path))
    assert "is not a saved model" in str(stopped.value)
