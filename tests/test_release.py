"""What users install: the built sdist and wheel, in an environment without this checkout."""

import pathlib
import re
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

import dgmjax as dgm

ROOT = pathlib.Path(__file__).parent.parent
SMOKE = """
import jax, numpy as np, dgmjax as dgm
from flax import nnx
assert "site-packages" in dgm.__file__, dgm.__file__
x = np.random.RandomState(0).normal(size=(200, 2)).astype(np.float32)
flow = dgm.RealNVP((2,), depth=2, width=8, rngs=nnx.Rngs(0))
result = dgm.fit(flow, x, seed=jax.random.key(0), steps=5, watch=dgm.Watch(progress=False))
dgm.save("model", result.model)
print(float(dgm.load("model").log_prob(x).mean()))
"""


def test_the_version_is_the_same_everywhere():
    project = (ROOT / "pyproject.toml").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f'version = "{dgm.__version__}"' in project
    assert f"version: {dgm.__version__}" in citation


@pytest.mark.slow
def test_the_wheel_works_alone(tmp_path):
    """The sdist, the wheel of it, installed in a fresh environment with what it asks for, used from elsewhere."""
    build = [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)  # the sdist, then a wheel of it
    (sdist,) = tmp_path.glob("dgmjax-*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "tests/conftest.py", "experiments/train.py", "docs/index.md"} <= inside
    assert not any(name.startswith((".git/", "runs/")) or "__pycache__" in name for name in inside)
    (wheel,) = tmp_path.glob("dgmjax-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "dgmjax/py.typed" in names
    assert not any(name.startswith(("tests/", "experiments/")) for name in names)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    done = subprocess.run(
        [python, "-c", SMOKE], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert re.fullmatch(r"-?\d+\.\d+\n", done.stdout)
