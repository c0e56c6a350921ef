"""Kill the real command with SIGKILL, type it again, and end with the same bits."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import chex
import pytest

import dgmjax as dgm

ROOT = pathlib.Path(__file__).parents[1]
OPTIONS = [
    "--model.depth", "2", "--model.width", "32", "--training.steps", "600",
    "--training.eval-every", "20", "--training.patience", "1000",
]  # fmt: skip


def command(workdir: pathlib.Path) -> list[str]:
    return [
        sys.executable, "-m", "experiments.train", "realnvp_digits", *OPTIONS,
        "--workdir", str(workdir),
    ]  # fmt: skip


def finish(workdir: pathlib.Path) -> str:
    done = subprocess.run(command(workdir), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def kill_after(workdir: pathlib.Path, seconds: float, how: int = signal.SIGKILL) -> int:
    """Kill the run ``seconds`` after its first checkpoint appeared; returns the last whole checkpoint."""
    checkpoints = workdir / "checkpoints"
    process = subprocess.Popen(
        command(workdir), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("*/manifest.json")):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(process.pid, how)
    assert process.wait() == (-how if how == signal.SIGKILL else 128 + how)
    return max(int(path.parent.name) for path in checkpoints.glob("*/manifest.json"))


def records(workdir: pathlib.Path) -> list[dict]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("resume") / "uninterrupted"
    finish(workdir)
    return workdir


def check(workdir: pathlib.Path, uninterrupted: pathlib.Path) -> None:
    chex.assert_trees_all_equal(dgm.load(workdir / "model"), dgm.load(uninterrupted / "model"))
    assert records(workdir) == records(uninterrupted)
    ours, theirs = (json.loads((w / "result.json").read_text()) for w in (workdir, uninterrupted))
    assert ours["test"] == theirs["test"]
    assert not list(workdir.glob("**/*.tmp*"))


def test_a_killed_run_ends_with_the_same_bits(tmp_path, uninterrupted):
    step = kill_after(tmp_path / "run", 0.3)
    assert 0 < step < 600
    assert "600" in finish(tmp_path / "run")
    check(tmp_path / "run", uninterrupted)


def test_a_preempted_run_writes_a_checkpoint_of_that_very_step_first(tmp_path, uninterrupted):
    """Between two logs: the metrics since the last one are in the checkpoint, so the records agree as well."""
    step = kill_after(tmp_path / "run", 0.3, signal.SIGTERM)
    assert 0 < step < 600
    assert "600" in finish(tmp_path / "run")
    check(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, uninterrupted):
    moments = random.Random(0)
    for _ in range(5):
        kill_after(tmp_path / "run", moments.uniform(0.0, 0.4))
    finish(tmp_path / "run")
    check(tmp_path / "run", uninterrupted)
