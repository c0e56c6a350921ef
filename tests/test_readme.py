"""The README's Python, run as printed, in order, as one newcomer's session."""

import os
import pathlib
import re
import subprocess
import sys

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


@pytest.mark.slow
def test_the_python_of_the_page_on_extending_runs(tmp_path):
    """In a process of its own: it adds names to the library's tables."""
    page = (README.parent / "docs" / "extending.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, CHECKS])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(README.parent)},  # for experiments
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("as the page says\n")


# What the page says in words about the objects that its blocks leave.
CHECKS = """
assert jnp.allclose(trained.location[...], 3.0, atol=0.05)
assert jnp.allclose(jnp.exp(trained.log_scale[...]), 0.5, atol=0.05)
assert isinstance(dgm.load("gumbel"), Gumbel)
assert dgm.load("runs/vector_glow_two_moons/model").event_shape == (2,)
assert result["test"]["bound"] == "exact"
likelihood = dgm.log_likelihood(vae, dataset.test, seed=jax.random.key(7), num_samples=64)
assert 2.079 - 3 * likelihood.standard_error < likelihood.nats < 3.5
print("as the page says")
"""
