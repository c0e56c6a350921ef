"""Objects under test as pytrees: what is traced, what is differentiated."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgmjax.testing._report import is_floating


def split(tree: Any, wanted: Callable[[Any], bool]) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Takes the wanted leaves out of a pytree.

    Objects that are not pytrees are one opaque leaf, so the same code serves an `nnx.Module`, a
    `distrax` object and a plain Python class.

    Returns:
        The wanted leaves by path, and a function from such a dictionary back to the whole tree.
    """
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [leaf for _, leaf in flat]
    # The position keeps paths apart even if a custom node gives two children one name.
    slots = {i: jax.tree_util.keystr(path) for i, (path, leaf) in enumerate(flat) if wanted(leaf)}
    names = {i: name or f"leaf {i}" for i, name in slots.items()}
    if len(set(names.values())) < len(names):
        names = {i: f"{name} (leaf {i})" for i, name in names.items()}

    def merge(chosen: dict[str, Any]) -> Any:
        filled = list(leaves)
        for i, name in names.items():
            filled[i] = chosen[name]
        return jax.tree_util.tree_unflatten(structure, filled)

    return {name: leaves[i] for i, name in names.items()}, merge


def split_arrays(tree: Any) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Takes out what `jax.jit` would trace: arrays of any dtype, PRNG keys included."""
    return split(tree, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))


def split_floating(tree: Any) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Takes out what `jax.grad` can differentiate: arrays of floating dtype."""
    return split(tree, lambda leaf: isinstance(leaf, jax.Array | np.ndarray) and is_floating(leaf))
