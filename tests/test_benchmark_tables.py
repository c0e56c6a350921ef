"""The race of densities of tables: what it writes, and that its flow learns what it is measured by."""

import json

import numpy as np
import pytest

from experiments.benchmarks import tables
from experiments.benchmarks._tables_work import QUICK, Work

pytestmark = pytest.mark.usefixtures("x32")


def test_the_quick_race_writes_a_table_and_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "tables.json"
    names = ["dgmjax-autoregressive", "dgmjax-coupling"]
    returned = tables.main(["--quick", "--only", *names, "--out", str(out)])
    written = json.loads(out.read_text())
    assert written == json.loads(json.dumps(returned))
    assert written["work"]["steps"] == QUICK.steps
    assert list(written["runs"]) == ["dgmjax, autoregressive", "dgmjax, coupling"]
    for run in written["runs"].values():
        assert run["steps"] == [8, 16]
        assert 0 < run["seconds"][0] < run["seconds"][1]
        # A standard normal in six dimensions has -8.5 nats.
        assert -11 < run["test"] < -7
        assert run["validation"][-1] > run["validation"][0]
    assert out.with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    printed = capsys.readouterr().out
    assert printed.count("| dgmjax, ") == 2
    assert "after 16 steps" in printed


def test_the_table_compares_at_the_seconds_of_the_fastest():
    def run(seconds, validation):
        return {
            "parameters": 10, "note": "none", "steps": [5, 10], "seconds": seconds,
            "validation": validation, "test": 0.5, "standard_error": 0.01,
        }  # fmt: skip

    text = tables.table({"a": run([1.0, 2.0], [0.0, 1.0]), "b": run([2.0, 4.0], [0.25, 2.0])})
    assert "| a | 10 | 200.0 | 0.500 +- 0.010 | 1.000 |" in text
    assert "| b | 10 | 400.0 | 0.500 +- 0.010 | 0.250 |" in text
    assert "validation after 2 s" in text


def test_the_schedule_is_that_of_the_page():
    work = Work()
    np.testing.assert_allclose(work.rate(50), 2.5e-4)
    np.testing.assert_allclose(work.rate(100), 5e-4)
    np.testing.assert_allclose(work.rate(4_550), 2.5e-4)
    assert work.rate(9_000) < 1e-12
