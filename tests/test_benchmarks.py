"""The benchmark of flows on vectors, on tiny work and without peers: what it reports, not how fast anything is."""

import contextlib
import io
import json

import pytest

from experiments.benchmarks import vector

pytestmark = pytest.mark.usefixtures("x32")


slow = pytest.mark.slow  # it empties JAX's caches for first calls


@pytest.fixture(scope="module")
def run(tmp_path_factory, x32) -> tuple[dict, str]:
    """The written results, and what was printed."""
    del x32
    out = tmp_path_factory.mktemp("benchmarks") / "results.json"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        returned = vector.main(["--quick", "--peers", "--out", str(out)])
    written = json.loads(out.read_text())
    assert written == json.loads(json.dumps(returned))
    return written, printed.getvalue()


@slow
def test_every_task_reports_its_systems(run):
    results, _ = run
    assert set(results["header"]["load_after"]) == set(vector.TASKS)
    systems = {}
    for row in results["rows"]:
        systems.setdefault(row["task"], []).append(row["system"].removeprefix("dgmjax, "))
    assert systems == {
        "coupling step": ["dgmjax", "bare step"],
        "MAF step": ["dgmjax"],
        "MAF sampling": ["dgmjax"],
        "inversion at D=12": ["incremental", "jacobi", "naive, D passes"],
        "first call of the coupling step": ["dgmjax", "bare step"],
        "trace the coupling step": ["depth 2", "depth 4"],
        "lower the coupling step": ["depth 2", "depth 4"],
        "compile the coupling step": ["depth 2", "depth 4"],
        "host time a step": [
            "trainer's loop", "jitted step, batches", "jitted step, one batch", "bare executable",
            "loop minus bare executable",
        ],
        "temporary memory of the coupling gradient": [
            "plain, depth 4", "reversible, depth 4", "plain, depth 16", "reversible, depth 16",
        ],
    } | {
        f"second call of {method}, {model}": ["as it is", "inside jax.jit"]
        for model in ("RealNVP", "Glow")
        for method in ("log_prob", "sample", "encode", "interpolate")
    }  # fmt: skip


@slow
def test_timed_rows_have_a_spread_and_the_first_of_a_race_no_ratio(run):
    first = {}
    for row in run[0]["rows"]:
        if row["unit"] != "ms":
            continue
        assert 0 < row["minimum"] <= row["median"] <= row["p90"]
        first.setdefault(row["task"], row)
        assert (row["ratio"] is None) == (first[row["task"]] is row)
        assert row["ratio"] is None or row["ratio"] > 0


@slow
def test_the_systems_of_a_race_train_equally_many_parameters(run):
    rows = [row for row in run[0]["rows"] if row["task"] == "coupling step"]
    assert rows[0]["parameters"] == rows[1]["parameters"] > 0


@slow
def test_the_memory_of_a_reversible_gradient_does_not_grow_with_the_depth(run):
    rows = [row for row in run[0]["rows"] if row["unit"] == "MiB"]
    size = {row["system"].removeprefix("dgmjax, "): row["median"] for row in rows}
    assert size["reversible, depth 16"] == size["reversible, depth 4"]
    assert size["plain, depth 16"] > 1.5 * size["plain, depth 4"]


@slow
def test_the_text_names_the_machine_the_numbers_and_the_differences(run):
    _, printed = run
    assert "cores, load [" in printed
    assert "| coupling step | dgmjax, bare step |" in printed
    assert "- coupling step, dgmjax: the step of dgmjax.fit" in printed
