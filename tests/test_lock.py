"""A work directory has one run at a time."""

import pathlib
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

import dgmjax as dgm
from dgmjax.training import lock
from experiments.commands import train

OTHER = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, b"process 1 on another")
print("locked", flush=True)
time.sleep(100)
"""


@lock.one_run_at_a_time
def work(*, workdir: pathlib.Path | None) -> list[str]:
    """A run that calls another one in the same directory, as the command calls `dgmjax.fit`."""
    if workdir is None:
        return []
    inner = lock.one_run_at_a_time(lambda *, workdir: sorted(p.name for p in workdir.iterdir()))
    return inner(workdir=workdir)


def test_a_directory_that_another_process_works_in_is_refused_until_it_is_killed(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(run / ".lock")], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"locked\n"
        refusal = "is in use by process 1 on another, and two runs in one directory"
        flow = dgm.Flow(dgm.DiagonalLinear((2,)))
        with pytest.raises(RuntimeError, match=refusal):
            dgm.fit(flow, np.zeros((4, 2)), seed=jax.random.key(0), steps=1, workdir=run)
        with pytest.raises(SystemExit, match=refusal):
            train.main(["realnvp_two_moons", "--workdir", str(run), "--no-compilation-cache"])
        with pytest.raises(RuntimeError, match=refusal):
            work(workdir=run)
        assert [path.name for path in run.iterdir()] == [".lock"]
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert work(workdir=run) == [".lock"]
    assert work(workdir=run) == [".lock"], "given back"


def test_so_is_one_of_another_thread(tmp_path):
    found: list[object] = []

    def in_a_thread() -> None:
        try:
            found.append(work(workdir=tmp_path))
        except RuntimeError as error:
            found.append(str(error))

    @lock.one_run_at_a_time
    def run(*, workdir: pathlib.Path) -> None:
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()

    run(workdir=tmp_path)
    in_a_thread()
    assert "is in use by process" in found[0]
    assert found[1] == [".lock"]


def test_a_run_inside_another_locks_a_directory_of_its_own(tmp_path):
    @lock.one_run_at_a_time
    def outer(*, workdir: pathlib.Path) -> list[str]:
        return work(workdir=workdir / "inner")

    assert outer(workdir=tmp_path) == [".lock"]


def test_where_nothing_can_be_locked_everybody_may_work(tmp_path, monkeypatch):
    assert work(workdir=None) == []

    def flock(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    assert work(workdir=tmp_path / "a") == [".lock"]
    monkeypatch.setattr(lock, "fcntl", None)
    assert work(workdir=tmp_path / "b") == []
