"""The README's Python, run as printed, in order, as one newcomer's session."""

import pathlib
import re
import subprocess
import sys

import jax
import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "importance-weighted bound, K=16 (uniform dequantization)" in done.stdout


@pytest.mark.usefixtures("x32")
def test_the_layer_of_the_architecture_page_keeps_the_laws():
    page = (README.parent / "docs" / "architecture.md").read_text()
    (block,) = re.findall(
        r"```python\n(.*?)```", page.split("## How to add a bijector")[1], re.DOTALL
    )
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):  # as users have it
        exec(block, names)
    assert issubclass(names["Scaling"], names["dgm"].Bijector)
