"""Saving a model: its configuration as JSON and its arrays, no pickle."""

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.constructor import build, describe
from dgmjax.nets.data_init import MEMORY
from dgmjax.training.manifest import find_damage, write_manifest
from dgmjax.training.partition import Arrays, partition


def save(path: str | pathlib.Path, model: nnx.Module) -> None:
    """Write ``model`` to the folder ``path``: ``model.json`` and ``arrays/``.

    The folder appears, or is replaced, in one piece: a killed writer leaves the old one.

    Args:
      path: folder to write; its parents are made.
      model: any model of `dgmjax.models`, or a class decorated with ``@dgmjax.recorded``.

    Raises:
      TypeError: the model cannot describe its constructor.
      FileExistsError: ``path`` exists and is not a saved model.

    Example:
      >>> import tempfile, dgmjax as dgm
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     dgm.save(f"{folder}/model", dgm.Flow(dgm.DiagonalLinear((2,))))
      ...     dgm.load(f"{folder}/model").event_shape
      (2,)
    """
    import orbax.checkpoint as ocp

    path = _recover(pathlib.Path(path).absolute())
    if path.exists() and not (path / "model.json").exists():
        raise FileExistsError(f"{path} exists and is not a saved model; choose another path.")
    params, fixed, _ = partition(model)
    arrays = params | fixed
    record = {
        "model": describe(model),
        "arrays": {
            name: {"shape": list(array.shape), "dtype": np.dtype(array.dtype).name}
            for name, array in arrays.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new, old = path.with_name(f".{path.name}.new"), _old(path)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(new / "arrays", arrays)
    (new / "model.json").write_text(json.dumps(record, indent=1))
    write_manifest(new)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def load(path: str | pathlib.Path) -> Any:
    """Read the model that `save` wrote; works on any number of devices.

    Raises:
      FileNotFoundError: no saved model at ``path``.
      RuntimeError: a file is missing, truncated or altered; the message names it.
      ValueError: a class this process does not know, or arrays that do not fit it.
    """
    import orbax.checkpoint as ocp

    path = _recover(pathlib.Path(path).absolute())
    if not (path / "model.json").exists():
        raise FileNotFoundError(f"{path} is not a saved model: {path / 'model.json'} is missing.")
    damage = find_damage(path)
    if damage is not None:
        raise RuntimeError(f"saved model {path} is damaged: {damage.what}.")
    record = json.loads((path / "model.json").read_text())
    params, fixed, merge = _shapes(record["model"])
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {
        name: jax.ShapeDtypeStruct(tuple(entry["shape"]), entry["dtype"], sharding=sharding)
        for name, entry in record["arrays"].items()
    }
    # Models saved before they remembered their data-dependent start have been through it: nobody saves a fresh one.
    unsaved = {
        name: jnp.ones(array.shape, array.dtype)
        for name, array in fixed.items()
        if name.rpartition("/")[2] == MEMORY and name not in like
    }
    arrays_here = {name: a for name, a in (params | fixed).items() if name not in unsaved}
    expected = {name: tuple(array.shape) for name, array in arrays_here.items()}
    if expected != {name: array.shape for name, array in like.items()}:
        odd = sorted(set(expected.items()) ^ {(name, array.shape) for name, array in like.items()})
        raise ValueError(
            f"{path}: the arrays do not fit the model class as it is now; first difference: {odd[0]}. It was saved "
            f"by another version of the class."
        )
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore(path / "arrays", like) | unsaved
    return merge({name: arrays[name] for name in params}, {name: arrays[name] for name in fixed})


def _old(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.old")


def _recover(path: pathlib.Path) -> pathlib.Path:
    """A writer killed between its two renames left the model under its old name: put it back."""
    if not path.exists() and _old(path).exists():
        _old(path).rename(path)
    return path


def _shapes(record: dict[str, Any]) -> tuple[Arrays, Arrays, Callable[[Arrays, Arrays], Any]]:
    """`partition` of the described model with shapes for arrays: no weights are drawn just to be overwritten."""
    merges = []

    def build_and_split() -> tuple[Arrays, Arrays]:
        params, fixed, merge = partition(build(record, rngs=nnx.Rngs(0)))
        merges.append(merge)
        return params, fixed

    params, fixed = jax.eval_shape(build_and_split)
    return params, fixed, merges[0]
