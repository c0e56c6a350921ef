"""A module as two flat dictionaries of arrays: what the optimizer may change, and the rest."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from flax import nnx

Model = TypeVar("Model")
Arrays = dict[str, jax.Array]


def partition(model: Model) -> tuple[Arrays, Arrays, Callable[[Arrays, Arrays], Model]]:
    """Split ``model`` into trainable arrays, fixed arrays and the function that puts them together again.

    ``merge(params, fixed)`` equals ``model``; an array that is in both is taken from ``params``. Names are the paths in
    the module, e.g. ``bijector/layers/1/conditioner/last/kernel``, stable across processes, so checkpoints are readable
    by name; and a flat dict crosses the boundary of a jitted function without any Python work per array.

    Args:
      model: an ``nnx.Module``; its ``nnx.Param`` leaves are trainable, every other array is fixed.
    """
    split: Any = nnx.split(model, nnx.Param, ...)
    graphdef, params, rest = split
    param_arrays, param_tree = _flatten(params)
    fixed_arrays, fixed_tree = _flatten(rest)
    param_names, fixed_names = list(param_arrays), list(fixed_arrays)  # merge holds no arrays

    def merge(params: Arrays, fixed: Arrays) -> Model:
        arrays = fixed | params
        return nnx.merge(
            graphdef,
            jax.tree.unflatten(param_tree, [arrays[name] for name in param_names]),
            jax.tree.unflatten(fixed_tree, [arrays[name] for name in fixed_names]),
        )

    return param_arrays, fixed_arrays, merge


def statistics_of(model: Any) -> Arrays:
    """The running statistics of ``model``, its ``nnx.BatchStat`` arrays, by the names of `partition`."""
    return _flatten(nnx.state(model, nnx.BatchStat))[0]


def _flatten(state: Any) -> tuple[Arrays, Any]:
    leaves, tree = jax.tree.flatten_with_path(state)
    arrays = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    return {name.removesuffix("/value"): leaf for name, leaf in arrays.items()}, tree
