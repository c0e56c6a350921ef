"""Objects under test as pytrees: what is traced, what is differentiated."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgmjax.testing._report import is_floating


def split(tree: Any, wanted: Callable[[Any], bool]) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Takes the wanted leaves out of a pytree.

    Objects that are not pytrees are one opaque leaf, so the same code serves an ``nnx.Module``, a
    ``distrax`` object and a plain Python class.

    Returns:
        The wanted leaves by path, and a function from such a dictionary back to the whole tree.
    """
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [leaf for _, leaf in flat]
    names = [jax.tree_util.keystr(path) for path, _ in flat]
    if len(set(names)) < len(names):  # a custom node may give two children one name
        names = [f"{name} (leaf {i})" for i, name in enumerate(names)]
    chosen = {name: leaf for name, leaf in zip(names, leaves, strict=True) if wanted(leaf)}

    def merge(values: dict[str, Any]) -> Any:
        filled = [values.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
        return jax.tree_util.tree_unflatten(structure, filled)

    return chosen, merge


def split_arrays(tree: Any) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Takes out what ``jax.jit`` would trace: arrays of any dtype, PRNG keys included."""
    return split(tree, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))


def split_floating(tree: Any) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Takes out what ``jax.grad`` can differentiate: arrays of floating dtype."""
    return split(tree, lambda leaf: isinstance(leaf, jax.Array | np.ndarray) and is_floating(leaf))
