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
    "--model.depth", "2", "--model.width", "32", "--training.eval-every", "20",
    "--training.patience", "1000",
]  # fmt: skip


def command(workdir: pathlib.Path, steps: int) -> list[str]:
    return [
        sys.executable, "-m", "experiments.train", "realnvp_digits", *OPTIONS,
        "--training.steps", str(steps), "--workdir", str(workdir),
    ]  # fmt: skip


def finish(workdir: pathlib.Path, steps: int = 600) -> str:
    done = subprocess.run(
        command(workdir, steps), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def kill_after(workdir: pathlib.Path, seconds: float, how: int = signal.SIGKILL) -> int:
    """Kill the run ``seconds`` after its first checkpoint appeared; returns the last whole checkpoint."""
    checkpoints = workdir / "checkpoints"
    process = subprocess.Popen(
        command(workdir, 600), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
    left = [p for p in workdir.glob("**/*.tmp*") if "damaged_checkpoints" not in p.parts]
    assert not left


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tmp_path, uninterrupted):
    step = kill_after(tmp_path / "run", 0.3)
    assert 0 < step < 600
    assert "600" in finish(tmp_path / "run")
    check(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_a_preempted_run_writes_a_checkpoint_of_that_very_step_first(tmp_path, uninterrupted):
    """Between two logs: the metrics since the last one are in the checkpoint, so the records agree as well."""
    step = kill_after(tmp_path / "run", 0.3, signal.SIGTERM)
    assert 0 < step < 600
    assert "600" in finish(tmp_path / "run")
    check(tmp_path / "run", uninterrupted)


def kill_inside_a_write(process: subprocess.Popen, workdir: pathlib.Path, seconds: float) -> bool:
    """Kill the run ``seconds`` after it began to write its next checkpoint; whether the write was cut short."""
    seen = set((workdir / "checkpoints").glob("[0-9]*"))
    deadline = time.monotonic() + 200
    while not set((workdir / "checkpoints").glob("[0-9]*")) - seen:
        assert process.poll() is None, "the run ended"
        assert time.monotonic() < deadline
    time.sleep(seconds)
    process.kill()
    process.wait()
    left = (workdir / "checkpoints").glob("[0-9]*")
    return any("tmp" in path.name or not (path / "manifest.json").exists() for path in left)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_killed_at_twenty_moments_ends_with_the_same_bits(tmp_path):
    """Anywhere: while it starts, restores, compiles, trains, and ten times while it writes a checkpoint."""
    steps, workdir = 4_000, tmp_path / "run"
    finish(tmp_path / "whole", steps)
    moments, cut = random.Random(0), []
    for kill in range(20):
        process = subprocess.Popen(
            command(workdir, steps), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if kill % 2:
            cut.append(kill_inside_a_write(process, workdir, moments.uniform(0.0, 0.05)))
        else:
            time.sleep(moments.uniform(0.0, 10.0))
            assert process.poll() is None, "the run ended"
            process.kill()
            process.wait()
    assert sum(cut) >= 3, cut
    finish(workdir, steps)
    check(workdir, tmp_path / "whole")
