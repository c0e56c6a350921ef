"""A function of many rows, some rows at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def map_rows(f: Callable[..., Any], *arrays: Any, batch_size: int | None) -> Any:
    """``f(*arrays)``, computed for ``batch_size`` rows at a time, so that memory is that of a batch.

    Row ``i`` of what ``f`` returns depends on row ``i`` of the arrays alone; randomness comes as one key a row, among
    the arrays, so that it does not depend on ``batch_size``. All batches have one shape: the last is filled up with
    copies of the last row, whose results are thrown away. Inside ``jax.jit`` the batches are one loop, `jax.lax.map`.
    Outside they are calls of ``f``, which compiles once if it is jitted, and whose NumPy results stay on the host. With
    ``batch_size`` None, or no more rows than that (or none), it is one call of ``f`` with the arrays as they are.

    Args:
      f: arrays of ``b`` rows to a pytree of arrays of ``b`` rows.
      *arrays: pytrees of arrays ``[n, ...]``: JAX's, typed keys, or NumPy's; None is a pytree without arrays.
      batch_size: rows a call, or None for all.

    Raises:
      ValueError: a batch size below 1, or arrays with different numbers of rows.
    """
    counts = {len(leaf) for leaf in jax.tree.leaves(arrays)}
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"map_rows: batch_size must be at least 1, got {batch_size}.")
    if len(counts) != 1:
        raise ValueError(f"map_rows: expected arrays of one number of rows, got {sorted(counts)}.")
    (num,) = counts
    if batch_size is None or num <= batch_size:
        return f(*arrays)
    rows = np.minimum(np.arange(-(-num // batch_size) * batch_size), num - 1)
    rows = rows.reshape(-1, batch_size)

    def batch(index: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[index], arrays)

    if isinstance(jnp.zeros(()), jax.core.Tracer):  # a program is being traced
        parts = jax.lax.map(lambda part: f(*part), jax.tree.map(jnp.asarray, batch(rows)))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num], parts)
    results = [f(*batch(index)) for index in rows]
    return jax.tree.map(lambda *parts: _joined(parts)[:num], *results)


def _joined(parts: tuple[Any, ...]) -> Any:
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)
