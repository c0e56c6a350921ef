"""Strict JAX for the whole suite: 64-bit available, no silent promotion of dtype or rank."""

import atexit
import os
import shutil
import tempfile

import jax
import pytest

# Commands keep compiled programs and decoded data under the user's cache directory: not in tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="dgmjax-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module")
def x32():
    """JAX's defaults, as users train: float32, and the dtype promotion that optax relies on."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield
