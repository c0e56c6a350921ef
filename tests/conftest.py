"""Strict JAX for the whole suite: 64-bit available, no silent promotion of dtype or rank."""

import atexit
import os
import pathlib
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


_MAPS = pathlib.Path("/proc/self/maps")
# Linux gives a process 65,530 memory maps, and each compiled program takes some: without one LLVM crashes.
_MANY_MAPS = 30_000


@pytest.fixture(scope="module", autouse=True)
def _maps_left():
    """Forget the compiled programs of earlier modules before the process runs out of memory maps."""
    yield
    if _MAPS.exists() and len(_MAPS.read_bytes().splitlines()) > _MANY_MAPS:
        jax.clear_caches()
