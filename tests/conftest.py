"""Strict JAX for the whole suite: 64-bit available, no silent promotion of dtype or rank."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module")
def x32():
    """JAX's defaults, as users train: float32, and the dtype promotion that optax relies on."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield
