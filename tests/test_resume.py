"""A run that was stopped or killed anywhere, and asked for again, ends with the same bits."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax import training

pytestmark = pytest.mark.usefixtures("x32")
ROOT = pathlib.Path(__file__).parents[1]
ROWS = np.random.RandomState(0).normal(size=(53, 2)).astype(np.float32)


class Walker(nnx.Module):
    """A number that grows by about 1 a step, with a running mean of the rows."""

    event_shape = (2,)

    def __init__(self):
        self.w, self.mean = nnx.Param(jnp.zeros(())), nnx.BatchStat(jnp.zeros(2))


def walk(model, batch, key):
    """The slope depends on the rows and on the noise of each."""
    noise = jax.vmap(lambda one: jax.random.normal(one, (), batch["x"].dtype))(key)
    rows = -model.w[...] * (1.0 + 0.1 * batch["x"].sum(1) + 0.1 * noise)
    new = nnx.clone(model)
    new.mean[...] = 0.5 * model.mean[...] + 0.5 * batch["x"].mean(0)
    return rows.mean(), {"nats": (rows.sum(), jnp.asarray(rows.size, rows.dtype))}, new


def distance(model, batch, key):
    """From 12: it falls up to about step 12 and rises from there on."""
    del key
    rows = jnp.abs(model.w[...] - 12.0) + 0.0 * batch["x"][:, 0]
    count, back = jnp.asarray(rows.size, rows.dtype), 100.0 - model.w[...]
    return rows.mean(), {"nats": (rows.sum(), count), "back": (back * count, count)}


def jitter(x, keys):
    """Noise of a row."""
    return x + 0.1 * jax.vmap(lambda key, row: jax.random.normal(key, row.shape, row.dtype))(
        keys, x
    )


def run(
    workdir: pathlib.Path | None, *, stop_at: int | None = None, on_start=None, **options
) -> dgm.FitResult:
    """At most 40 steps, evaluated every 5; ``stop_at`` ends it inside the evaluation of that step."""

    def stop(step, model):
        if step == stop_at:
            raise KeyboardInterrupt

    # Momentum, a schedule and a clipped norm, whose positions a resumed run has to know.
    optimizer = training.default_optimizer(
        learning_rate=1.2, steps=40, warmup_steps=4, clip_norm=1.05, algorithm="sgd", momentum=0.2
    )
    options = {"steps": 40, "patience": 3} | options
    return dgm.fit(
        Walker(), ROWS, seed=jax.random.key(1), batch_size=8, eval_every=5, validation=ROWS[:9],
        optimizer=optimizer, ema_decay=0.5, augment=jitter, loss=walk, validation_loss=distance,
        workdir=workdir, watch=dgm.Watch(on_start=on_start, on_evaluation=stop), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(x32) -> dgm.FitResult:
    del x32
    return run(None)


def numbers(history) -> list[dict]:
    return [{k: v for k, v in record.items() if "per_second" not in k} for record in history]


def assert_same(found: dgm.FitResult, expected: dgm.FitResult) -> None:
    chex.assert_trees_all_equal(found.model, expected.model)
    chex.assert_trees_all_equal(found.run.state, expected.run.state)
    assert found.run.progress == expected.run.progress
    assert numbers(found.history) == numbers(expected.history)


@pytest.mark.parametrize("stop_at", [10, 20, 25])
def test_a_stopped_run_ends_with_the_same_bits(stop_at, tmp_path, whole):
    """Before and after its best evaluation, which a run that goes on must not forget, nor those that were no better."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=stop_at)
    values = [r["nats"] for r in whole.history if r["split"] == "validation"]
    assert values[0] > values[1] < values[2] < values[3] < values[4]
    starts = []
    found = run(tmp_path, on_start=starts.append)
    assert starts == [stop_at - 5], "from the last checkpoint"
    assert (found.best_step, found.steps) == (10, 25)
    assert_same(found, whole)


@pytest.mark.parametrize("at", [3, 13, 20])
def test_a_run_that_is_asked_to_stop_writes_that_very_step_and_ends_with_the_same_bits(
    at, tmp_path, whole, monkeypatch
):
    """Between two logs too: metrics since the last one are in the checkpoint."""
    batches = training.Source.__call__

    def interrupted(source, step):
        if step == at - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(source, step)

    with monkeypatch.context() as patch:
        patch.setattr(training.Source, "__call__", interrupted)
        with pytest.raises(training.PreemptedError, match=f"checkpoint of step {at} is written"):
            run(tmp_path)
    assert (tmp_path / "checkpoints" / str(at) / "manifest.json").exists()
    assert_same(run(tmp_path), whole)


def test_the_signal_is_delivered_when_nobody_stopped_for_it():
    """And whoever listened before listens again."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("before"))
    try:
        listener = signal.getsignal(signal.SIGTERM)
        with training.watch.preemption.watch_for_preemption():
            assert signal.getsignal(signal.SIGTERM) is not listener
        assert signal.getsignal(signal.SIGTERM) is listener
        assert heard == []
        with training.watch.preemption.watch_for_preemption() as asked:
            assert not asked()
            signal.raise_signal(signal.SIGTERM)
            assert asked()
            assert heard == []
        assert heard == ["before"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_that_went_on_with_more_steps_keeps_its_best(tmp_path):
    """Without patience, and worse from step 10 on: the best weights are still those of the first call."""
    first = run(tmp_path, patience=None, steps=15)
    again = run(tmp_path, patience=None)
    of_result = run(None, patience=None, continue_from=first)
    for longer in (again, of_result):
        assert (first.best_step, longer.best_step, longer.steps) == (10, 10, 40)
        chex.assert_trees_all_equal(longer.model, first.model)


def test_another_monitor_forgets_the_best_value_of_the_one_before(tmp_path):
    """Whose values may be smaller than any of its own."""
    assert run(tmp_path, patience=None, steps=15).best_step == 10
    assert run(tmp_path, patience=None, steps=25, monitor="back").best_step == 25


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
def test_a_run_killed_at_eight_moments_ends_with_the_same_bits(tmp_path):
    """Anywhere: while it starts, restores, compiles, trains, and four times while it writes a checkpoint."""
    steps, workdir = 4_000, tmp_path / "run"
    finish(tmp_path / "whole", steps)
    moments, cut = random.Random(0), []
    for kill in range(8):
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
    assert any(cut), cut
    finish(workdir, steps)
    check(workdir, tmp_path / "whole")
