"""Strict JAX for the whole suite: 64-bit available, no silent promotion of dtype or rank."""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
