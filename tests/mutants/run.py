"""A run of pytest in a copy of the checkout."""

import os
import pathlib
import sys
import tempfile

import pytest

_OURS = ("dgmjax", "experiments", "tests")
# An error before pytest ran ends a process with 1, as pytest does where a test fails.
SHIFT = 10


def run_pytest(test: str, copy: pathlib.Path) -> None:
    """Runs the test in ``copy``, in a process of its own, whose exit status is `SHIFT` plus pytest's."""
    with (copy / "output").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "TMPDIR": str(copy / "tmp")}
    tempfile.tempdir = None
    # Multiprocessing has imported this file from the checkout.
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    sys.exit(SHIFT + int(pytest.main([*options, test])))
