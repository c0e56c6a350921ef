"""Inside a user's own sharding: the varying axes of ``jax.shard_map``, and meshes with explicit axes.

Both make where an array lies a part of its type. A loop must then start from the type that its body returns, and with
explicit axes every operation whose result could lie in several ways must be told which.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import NamedSharding, PartitionSpec

Tree = TypeVar("Tree")
Function = TypeVar("Function", bound=Callable[..., Any])


def varying(tree: Tree, *like: Any) -> Tree:
    """``tree``, with each array varying over every axis over which an array of it, or of ``like``, varies.

    For the start of a loop: ``varying(zeros, x)`` has the type that ``zeros + x`` has. The gradient is right, that of
    ``jax.lax.pcast``. Outside ``jax.shard_map``, and with ``check_vma=False``, nothing varies and nothing is done.

    Args:
      tree: pytree of arrays.
      *like: pytrees of arrays.
    """
    axes = frozenset[str]().union(*map(_axes, jax.tree.leaves((tree, like))))

    def cast(leaf: Any) -> Any:
        missing = tuple(sorted(axes - _axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree) if axes else tree


def in_any_sharding(function: Function) -> Function:
    """A decorator: ``function`` runs on arrays that lie on a mesh with explicit axes, and inside ``jax.shard_map``.

    With explicit axes it runs with these axes left to the compiler, as on other meshes. Its results lie as the first
    sharded argument but ``self`` does, axis by axis up to the first of another size. Inside ``jax.shard_map`` all
    arguments vary over the axes over which one of them does.

    Args:
      function: of pytrees of arrays, and of other arguments; arrays reach it through its arguments alone.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = jax.tree.flatten((args, kwargs))
        places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
        arrays = [leaves[index] for index in places]
        shardings = [sharding for sharding in map(_sharding, arrays) if sharding is not None]
        if not shardings and not any(map(_axes, arrays)):
            return function(*args, **kwargs)

        def call(arrays: list[jax.Array]) -> Any:
            filled = list(leaves)
            for index, array in zip(places, varying(arrays), strict=True):
                filled[index] = array
            args, kwargs = jax.tree.unflatten(structure, filled)
            return function(*args, **kwargs)

        if not shardings:
            return call(arrays)
        mesh = shardings[0].mesh
        whole = NamedSharding(mesh, PartitionSpec())
        deciding = next(filter(_is_sharded, jax.tree.leaves((args[1:], kwargs))), None)
        auto = functools.partial(jax.sharding.auto_axes, call, axes=mesh.explicit_axes)
        shapes = jax.eval_shape(auto(out_sharding=whole), arrays)
        lie = jax.tree.map(lambda shape: _like(shape, deciding, whole), shapes)
        return auto(out_sharding=lie)(arrays)

    return wrapper  # type: ignore[return-value]


def _axes(leaf: Any) -> frozenset[str]:
    """The axes over which an array varies."""
    return jax.typeof(leaf).mat.varying


def _sharding(leaf: jax.Array) -> NamedSharding | None:
    """Where an array lies by its type, if on a mesh with explicit axes."""
    sharding = jax.typeof(leaf).sharding
    return sharding if sharding.mesh.explicit_axes else None


def _like(
    shape: jax.ShapeDtypeStruct, model: jax.Array | None, whole: NamedSharding
) -> NamedSharding:
    """Where a result of ``shape`` lies, given the argument that decides."""
    if model is None:
        return whole
    sizes = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(shape.shape, model.shape, strict=False)
    )
    spec = jax.typeof(model).sharding.spec
    return NamedSharding(whole.mesh, PartitionSpec(*spec[: len(list(sizes))]))


def _is_sharded(leaf: Any) -> bool:
    sharding = _sharding(leaf) if isinstance(leaf, jax.Array) else None
    return sharding is not None and any(axis is not None for axis in sharding.spec)
