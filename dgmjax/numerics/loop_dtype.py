"""The dtype in which a loop can start."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")
_MAX_PROMOTIONS = 4


def steady(step: Callable[[Any], Any], x: Tree, *operands: Any) -> Tree:
    """``x`` in the dtypes to which ``step`` promotes it, as JAX promotes ``x + y``: a loop over it can start there.

    Args:
      step: ``x`` to the shapes and dtypes of what the body of the loop makes of it, e.g. by ``jax.eval_shape``. Not
        called where all floating-point arrays have one dtype.
      x: pytree of arrays, the start of the loop.
      *operands: pytrees of the other arrays that the body meets.
    """
    leaves = jax.tree.leaves((x, operands))
    floating = {leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)}
    for _ in range(_MAX_PROMOTIONS if len(floating) > 1 else 0):
        before = x
        x = jax.tree.map(lambda leaf, shape: leaf.astype(shape.dtype), x, step(x))
        if jax.tree.map(jnp.result_type, x) == jax.tree.map(jnp.result_type, before):
            break
    return x
