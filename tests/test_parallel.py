"""One device is eight devices, whatever the strategy."""

import json
import pathlib
import subprocess
import sys

import pytest

from dgmjax import training

ROOT = pathlib.Path(__file__).parents[1]


def run(program: str, argument: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.programs.{program}", argument],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-12), pytest.param("float32", 1e-6, marks=pytest.mark.slow)],
)
def test_every_way_to_run_takes_the_same_steps(dtype, tolerance):
    """Same data, same noise for every example, same global means; only the order of sums may differ."""
    report = run("parallel_steps", dtype)
    assert report.pop("moved") > 0.05
    assert report.pop("statistics") <= tolerance
    assert report.pop("halves") == [2, 4, 4]  # the longest axis is split
    for name, difference in report.items():
        assert difference["params"] <= tolerance, (name, difference)
        assert difference["metrics"] <= 10 * tolerance, (name, difference)
        split = difference["smallest_shard"]
        assert split == (0.125 if name == "jit, fsdp 8" else 0.5 if "fsdp" in name else 1.0), name


@pytest.mark.slow
def test_a_run_may_continue_on_other_devices(tmp_path):
    for way, difference in run("change_devices", str(tmp_path)).items():
        assert difference <= 1e-12, way


def test_impossible_ways_say_why():
    with pytest.raises(ValueError, match="strategy: expected one of .*, got 'ddp'"):
        training.Parallel("ddp")
    with pytest.raises(ValueError, match="fsdp=2 needs strategy='jit'"):
        training.Parallel("pmap", fsdp=2)
    with pytest.raises(ValueError, match="num_devices: expected 1 to 1 .* got 2"):
        training.Parallel(num_devices=2)
    with pytest.raises(ValueError, match="fsdp=3 must divide the number of devices, 1"):
        training.Parallel(fsdp=3)
