"""The commands with two real processes: they end, one writes, and the numbers are those of one process."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from dgmjax.training import launcher
from experiments.commands import evaluate, sample, score
from experiments.run import runtime

ROOT = pathlib.Path(__file__).parents[1]
SMALL = [
    "--model.depth", "2", "--model.width", "8", "--training.steps", "20", "--training.eval-every", "10",
    "--max-rows", "128",
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def run_two(commands: list[list[str]], environments: list[dict] = ({}, {})) -> list[tuple]:
    """Status, standard output and standard error of two processes."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    try:
        ends = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, *end) for process, end in zip(running, ends, strict=True)]


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[pathlib.Path, list[tuple]]:
    """All commands on one run; the last one is wrong."""
    folder = tmp_path_factory.mktemp("runs")
    run = str(folder / "run")
    commands = [
        ["train", "realnvp_digits", *SMALL, "--workdir", run],
        ["evaluate", run],
        ["sample", run, "--num", "5", "--out", str(folder / "samples.npy")],
        ["sample", run, "--num", "5", "--out", str(folder / "samples.png")],
        ["score", run, "--num", "50"],
        ["outliers", run, "--against", "digits", "--num", "8", "--out", str(folder / "o.png")],
        ["interpolate", run, "--rows", "1", "--num", "3", "--out", str(folder / "i.png")],
        ["sample", run, "--out", str(folder / "samples.txt")],
    ]
    port = str(free_port())
    program = ["tests.programs.commands", port, "2"]
    return folder, run_two([[*program, str(i), json.dumps(commands)] for i in range(2)])


def test_commands_run_to_their_end_and_the_first_writes(together):
    folder, ends = together
    for code, _, errors in ends:
        assert code == 1, errors
        assert errors.strip().splitlines()[-1].startswith("error: --out must end in"), errors
    (_, out, _), (_, silent, _) = ends
    assert not [line for line in silent.splitlines() if not line.startswith("[Gloo]")]
    for line in (
        "everything is in",
        "training the classifier",
        "scores.json",
        "AUROC of likelihood",
        "ends differ",
    ):
        assert out.count(line) == 1, out
    for name in ("model/model.json", "result.json", "curves.png", "samples/final.png"):
        assert (folder / "run" / name).stat().st_size > 0
    assert len(list((folder / "run" / "tensorboard").glob("events*"))) == 1
    assert (folder / "resnet_digits" / "result.json").exists()
    for name in ("samples.png", "o.png", "o.json", "i.png"):
        assert (folder / name).stat().st_size > 0
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4, "both wrote the log"


@pytest.mark.usefixtures("x32")
def test_the_numbers_are_those_of_one_process(together, tmp_path):
    """On the run of two processes: its model is read, evaluated, sampled and scored in this one."""
    folder, _ = together
    run = folder / "run"
    files = (run / "evaluation_test_k1_seed0.json", run / "scores.json")
    of_two = [path.read_text() for path in files]
    assert json.loads((run / "result.json").read_text())["test"]["nats"] > 0
    evaluate.main([str(run)])
    score.main([str(run), "--num", "50"])
    for path, there in zip(files, of_two, strict=True):
        there, here = json.loads(there), json.loads(path.read_text())
        assert jax.tree.structure(there) == jax.tree.structure(here)
        for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(here), strict=True):
            assert a == (b if isinstance(b, str) else pytest.approx(b, rel=1e-3)), path
    sample.main([str(run), "--num", "5", "--out", str(tmp_path / "samples.npy")])
    there, here = np.load(folder / "samples.npy"), np.load(tmp_path / "samples.npy")
    assert there.shape == here.shape == (5, 64)
    assert np.abs(there - here).max() <= 1  # a rounding to integers


def slurm(rank: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
    }


def test_tasks_of_slurm_are_one_run_without_being_asked(tmp_path):
    command = [
        "experiments.train", "realnvp_two_moons", *SMALL, "--workdir", str(tmp_path / "run"),
    ]  # fmt: skip
    port = {"JAX_COORDINATOR_PORT": str(free_port())}
    ends = run_two([command] * 2, [slurm(rank) | port for rank in range(2)])
    for code, _, errors in ends:
        assert code == 0, errors
    assert "Slurm started it as task 0 of 2: the tasks are processes of one run" in ends[0][1]
    assert "everything is in" in ends[0][1]
    assert "everything is in" not in ends[1][1]
    assert (tmp_path / "run" / "model" / "model.json").exists()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4


STEP = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
LAUNCHED = {
    "nothing": ({}, None),
    "a job of one task": ({**STEP, "SLURM_NTASKS": "1"}, None),
    "an array of jobs of one task": ({**STEP, "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "3"}, None),
    "an interactive step of a job of four": ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, None),
    "a shell of an allocation": ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}, None),
    "any pod": ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
    "an image with a variable": ({"WORLD_SIZE": "1", "RANK": "0"}, None),
    "Slurm": (STEP, ("Slurm", 4, 0)),
    "Open MPI": (OPEN_MPI, ("Open MPI", 2, 1)),
    "mpirun in a job of Slurm": ({**STEP, **OPEN_MPI}, ("Open MPI", 2, 1)),
    "PMI": ({"PMI_RANK": "0", "PMI_SIZE": "3"}, ("MPI (PMI)", 3, 0)),
    "MVAPICH": ({"MV2_COMM_WORLD_RANK": "0", "MV2_COMM_WORLD_SIZE": "3"}, ("MVAPICH", 3, 0)),
    "torchrun": ({"RANK": "2", "WORLD_SIZE": "4"}, ("torchrun", 4, 2)),
    "an indexed job": ({"JOB_COMPLETION_INDEX": "0"}, ("Kubernetes", None, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAUNCHED)
def test_tasks_are_known_by_the_variables_of_their_launcher(name):
    environment, expected = LAUNCHED[name]
    found = launcher.several_tasks(environment)
    assert found == (None if expected is None else launcher.Tasks(*expected))


@pytest.fixture
def fresh(monkeypatch):
    """As in a new process, where no device was touched, started by nobody."""
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    for _, rank, counts in launcher._LAUNCHERS:
        for name in (rank, *counts):
            monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("environment", [STEP, OPEN_MPI, LAUNCHED["an indexed job"][0]])
def test_tasks_that_cannot_find_each_other_do_not_run(environment, fresh, tmp_path):
    for name, value in environment.items():
        fresh.setenv(name, value)
    command = [str(tmp_path / "none"), "--no-compilation-cache"]
    refusal = "--coordinator host:port .*runs by itself, .* says so: --num-processes 1"
    with pytest.raises(SystemExit, match=refusal):
        evaluate.main(command)
    with pytest.raises(SystemExit, match="is not a run directory"):
        evaluate.main([*command, "--num-processes", "1"])
    with pytest.raises(ValueError, match="reproduce runs in one process, but .* start it once"):
        runtime.refuse_tasks("experiments.reproduce")


def test_options_of_processes_need_them(tmp_path):
    with pytest.raises(SystemExit, match="are for --distributed"):
        sample.main([str(tmp_path), "--process-id", "1", "--no-compilation-cache"])
