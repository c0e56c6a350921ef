"""Strict JAX for the whole suite: 64-bit available, no silent promotion of dtype or rank."""

import atexit
import collections
import gc
import itertools
import math
import os
import pathlib
import shutil
import tempfile
import zlib

import jax
import pytest

# Commands keep compiled programs and decoded data under the user's cache directory: not in tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="dgmjax-cache-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Compiling makes many objects that live on; with Python's thresholds an eighth of the time goes into looking at them.
gc.freeze()
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="module")
def x32():
    """JAX's defaults, as users train: float32, and the dtype promotion that optax relies on."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


_MAPS = pathlib.Path("/proc/self/maps")
# Linux gives a process 65,530 memory maps, and each compiled program takes some: without one LLVM crashes.
_MANY_MAPS = 48_000
_TESTS = itertools.count(1)


def pytest_runtest_teardown():
    """Forget compiled programs before the process runs out of memory maps; looked at seldom, since it takes a while."""
    look = next(_TESTS) % 10 == 0 and _MAPS.exists()
    if look and len(_MAPS.read_bytes().splitlines()) > _MANY_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leaves one in n cases of a test marked ``one_in(n)`` fast, at least one: the lowest hashes of names.

    So a row keeps its place when others come or go. Cases that are slow for themselves are not counted.
    """
    cases = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("one_in") and not item.get_closest_marker("slow"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for same in cases.values():
        (n,) = same[0].get_closest_marker("one_in").args
        same.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        for item in same[math.ceil(len(same) / n) :]:
            item.add_marker("slow")
