"""Two real processes over loopback are one; when one dies the other ends, and both continue."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import dgmjax as dgm

ROOT = pathlib.Path(__file__).parents[1]


def start(
    workdir: pathlib.Path, processes: int, seconds: float = 0.0, options: str = "none"
) -> list[subprocess.Popen]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    workdir.parent.mkdir(exist_ok=True)
    running = []
    for process in range(processes):
        arguments = [str(workdir), str(processes), str(process), str(port), str(seconds), options]
        with (workdir.parent / f"errors_{process}.txt").open("w") as errors:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.programs.one_of_many", *arguments],
                    cwd=ROOT,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
            )
    return running


def end(running: list[subprocess.Popen], workdir: pathlib.Path) -> list[dict]:
    """Wait for all; what they saw."""
    codes = wait_for(running, 300)
    errors = [(workdir.parent / f"errors_{i}.txt").read_text() for i in range(len(running))]
    assert not any(codes), (codes, errors)
    return [dict(np.load(workdir.parent / f"seen_{i}.npz")) for i in range(len(running))]


def wait_for(running: list[subprocess.Popen], seconds: float) -> list[int]:
    try:
        return [process.wait(timeout=seconds) for process in running]
    finally:
        for process in running:
            process.kill()


def params_of(seen: dict) -> dict:
    return {name: value for name, value in seen.items() if name.startswith("params/")}


def difference(a: dict, b: dict) -> float:
    assert params_of(a).keys() == params_of(b).keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in params_of(a))


def wait_for_checkpoint(workdir: pathlib.Path, running: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + 200
    while not list(workdir.glob("checkpoints/*/manifest.json")):
        ended = any(process.poll() is not None for process in running)
        if ended or time.monotonic() > deadline:
            wait_for(running, 1)
            raise AssertionError("no checkpoint")
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    workdir = tmp_path_factory.mktemp("alone") / "run"
    return end(start(workdir, 1), workdir)[0]


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[pathlib.Path, list[dict]]:
    workdir = tmp_path_factory.mktemp("together") / "run"
    return workdir, end(start(workdir, 2), workdir)


def test_two_processes_train_what_one_does(alone, together):
    workdir, (first, second) = together
    assert difference(first, second) == 0.0
    assert difference(first, alone) <= 1e-12
    assert np.array_equal(first["steps"], alone["steps"])
    assert np.array_equal(second["steps"], alone["steps"])
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(alone["steps"]), "both wrote the log"


def test_a_process_reads_its_rows_of_every_batch_only(alone, together):
    _, seen = together
    assert set(alone["rows"]) == {40}
    for process in seen:
        assert set(process["rows"]) == {20}


def test_two_processes_save_and_load_models(alone, together):
    """All call it, or the first alone; arrays of one process, copies, parts; errors are everybody's."""
    workdir, seen = together
    for process in (alone, *seen):
        changes = {name: value for name, value in process.items() if name.startswith("change/")}
        assert len(changes) == 5
        assert not any(changes.values()), changes
        assert "exists and is not a saved model" in str(process["refused"])
    assert dgm.load(workdir.parent / "parts").event_shape == (4,)


@pytest.mark.slow
def test_so_do_two_that_split_the_state_and_everything_else(alone, tmp_path):
    """Fully sharded over the processes, rows on the devices, batches in parts, several steps a call."""
    for seen in end(start(tmp_path / "run", 2, options="all"), tmp_path / "run"):
        assert difference(seen, alone) <= 1e-12
        assert np.array_equal(seen["steps"], alone["steps"])


@pytest.mark.slow
def test_processes_with_different_settings_are_told(tmp_path):
    """One trains on other data."""
    workdir = tmp_path / "run"
    running = start(workdir, 2, options="other data in the second")
    assert all(wait_for(running, 120))
    for process in range(2):
        story = (tmp_path / f"errors_{process}.txt").read_text()
        assert "called with different x" in story, story[-500:]


KILLS = [
    pytest.param(1, signal.SIGKILL, id="kill the second", marks=pytest.mark.slow),
    pytest.param(0, signal.SIGKILL, id="kill the first", marks=pytest.mark.slow),
    pytest.param(1, signal.SIGTERM, id="preempt the second", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("victim", "how"), KILLS)
def test_when_one_dies_the_other_says_so_and_both_continue(victim, how, tmp_path, together):
    workdir = tmp_path / "run"
    running = start(workdir, 2, seconds=0.3)
    wait_for_checkpoint(workdir, running)
    os.kill(running[victim].pid, how)
    codes = wait_for(running, 60)  # the heartbeat is 10 s
    assert all(codes), "a process ended as if the run were done"
    story = (tmp_path / f"errors_{1 - victim}.txt").read_text()
    if how == signal.SIGTERM:
        assert "stopped by SIGTERM; the checkpoint of step" in story
    else:
        assert "lost another one" in story or "another task died" in story
    _, (expected, _) = together
    for seen in end(start(workdir, 2), workdir):
        assert difference(seen, expected) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_continues_with_another_number_of_processes(before, after, tmp_path, together):
    workdir = tmp_path / "run"
    running = start(workdir, before, seconds=0.3)
    wait_for_checkpoint(workdir, running)
    for process in running:
        process.kill()
    for process in running:
        process.wait()
    _, (expected, _) = together
    for seen in end(start(workdir, after), workdir):
        assert difference(seen, expected) <= 1e-12
