"""What is asked of the compiler: sums that some releases of XLA get wrong on the CPU."""

import os
import subprocess
import sys

import pytest

from dgmjax.numerics import avoid_wrong_sums

OPTION = "--xla_cpu_experimental_ynn_fusion_type"
PROGRAM = """
import {first}, {second}
import jax, jax.numpy as jnp, numpy as np
x = np.random.RandomState(0).normal(size=(40, 1000, 4)).astype(np.float32)
w = np.random.RandomState(1).normal(size=(2, 1, 1000, 4)).astype(np.float32)
total = jax.jit(lambda x, w: jax.lax.scan(lambda t, p: (t + (p * x).sum(-1), None), jnp.zeros((40, 1000)), w)[0])
print(float(np.abs(np.asarray(total(x, w)) - (w[0] * x + w[1] * x).sum(-1)).max()))
"""


@pytest.mark.parametrize("order", [("dgmjax", "jax"), ("jax", "dgmjax")])
@pytest.mark.every(2)
def test_large_sums_of_products_are_right(order):
    """Above 32,768 results, where jaxlib 0.10.2 is wrong by the size of the numbers themselves."""
    program = PROGRAM.format(first=order[0], second=order[1])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1e-5


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [
        ("0.10.2", "", f"{OPTION}=-reduce"),
        ("0.11.0", "--a=1", f"--a=1 {OPTION}=-reduce"),
        ("0.10.2", f"{OPTION}=dot", f"{OPTION}=dot"),
        ("0.10.1", "--a=1", "--a=1"),
        ("0.12.0", "", ""),
    ],
)
def test_only_the_releases_that_are_wrong_get_the_option(version, before, after, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", before)
    avoid_wrong_sums(version)
    assert os.environ["XLA_FLAGS"] == after
