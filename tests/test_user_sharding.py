"""Inside a user's own `jax.shard_map` with JAX's defaults, and on the meshes that `jax.make_mesh` makes."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# One row for each kind of loop; the slow case has a third of all.
TRACED = [
    "MAF, Jacobi",
    "IAFVAE",
    "PixelCNNpp",
    "RevNet",
    "glow, shuffle, anchors",
    "sylvester, context",
]
RUN = ["RealNVP, context, reversible", "PlanarFlow", "ResidualFlow"]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("run", RUN),
        ("trace", TRACED),
        pytest.param("trace a third", [], marks=pytest.mark.slow, id="trace a third"),
    ],
)
def test_models_and_layers_run_in_any_sharding(mode, names):
    """Log-densities, samples and gradients, with rows on two of four devices."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs.user_sharding", mode, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
