"""What is asked of the compiler: sums that some releases of XLA get wrong on the CPU."""

import os
import subprocess
import sys

import pytest

from dgmjax.numerics import avoid_wrong_sums, compiler

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
@pytest.mark.one_in(2)
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
    monkeypatch.setattr(compiler, "_runs_on_cpu", lambda: False)
    avoid_wrong_sums(version)
    assert os.environ["XLA_FLAGS"] == after


LATE = """
import os, warnings
os.environ.pop("XLA_FLAGS", None)
import jax, jax.numpy as jnp
jax.block_until_ready(jnp.ones(3) + 1)
from dgmjax.numerics import compiler
os.environ.pop("XLA_FLAGS")
compiler.metadata.version = lambda name: {version!r}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    compiler.avoid_wrong_sums()
print([str(w.message)[:42] for w in caught if w.category is UserWarning])
"""


@pytest.mark.parametrize(("version", "expected"), [("0.10.2", 1), ("0.10.1", 0)])
@pytest.mark.one_in(2)
def test_a_program_that_used_jax_first_is_warned(version, expected, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"{OPTION}=-reduce")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LATE.format(version=version)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = ["JAX has computed before dgmjax was importe"] * expected
    assert done.stdout.strip().splitlines()[-1] == str(told)
