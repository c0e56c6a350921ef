"""Metrics of a split are those of all of its rows, each once, however they are cut and spread."""

import json
import pathlib
import subprocess
import sys

import numpy as np


def test_every_row_counts_once_on_any_number_of_devices():
    """Rows 0 to 28: their mean is 14, that of their squares 28 * 57 / 6 = 266; 29 is no multiple of 4 or 8."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs.evaluation"],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    # Of 8 devices, those that divide 12 rows, 2 parts of 12 rows, and 7 rows.
    assert report["devices"] == [4, 2, 1]
    found = report["metrics"]
    for metrics in found:
        np.testing.assert_allclose([metrics["mean"], metrics["square"]], [14.0, 266.0], rtol=1e-6)
        # Rows have noise of their own, also those of other chunks: uniform numbers of variance 1/12.
        variance = metrics["noise_square"] - metrics["noise"] ** 2
        assert abs(variance - 1 / 12) < 0.04
    # The noise depends on the chunk and the place in it, not on the devices.
    alone, spread, whole, whole_spread, _ = found
    for one, other in ((alone, spread), (whole, whole_spread)):
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-6)
    assert abs(alone["noise"] - whole["noise"]) > 1e-3
