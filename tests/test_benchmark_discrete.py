"""The benchmark of discrete data: what it reports; not how fast it is."""

import contextlib
import io
import json

import pytest

from experiments.benchmarks import discrete

pytestmark = pytest.mark.usefixtures("x32")


@pytest.mark.slow
def test_every_task_reports_its_rows(tmp_path):
    out = tmp_path / "results.json"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        results = discrete.main(["--quick", "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(results))
    rows = {row["system"]: row for row in results["rows"]}
    assert list(rows) == [
        "safeguarded Newton",
        "bisection",
        "cached activations",
        "the network again",
        "networks in float32",
        "networks in bfloat16",
    ]
    assert float(rows["safeguarded Newton"]["note"].split()[-1]) < 1e-5
    assert rows["networks in float32"]["parameters"] == rows["networks in bfloat16"]["parameters"]
    assert "| safeguarded Newton |" in printed.getvalue()
