"""Saving a model: its configuration as JSON and its arrays, no pickle."""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.nets.data_init import MEMORY
from dgmjax.training.distributed import agree, whole
from dgmjax.training.manifest import find_damage, write_manifest
from dgmjax.training.partition import Arrays, partition

_LONGEST_WAIT = 3_600.0  # seconds, for the first process to come and write


def save(path: str | pathlib.Path, model: nnx.Module) -> None:
    """Write ``model`` to the folder ``path``: ``model.json`` and ``arrays/``.

    The folder appears, or is replaced, in one piece: a killed writer leaves the old one.

    Where several processes take part, all of them call it, as they call `dgmjax.fit`: the first writes, the others
    wait for it, and what goes wrong there is raised in all. The first may also call it alone (``if is_first():``),
    unless arrays are spread over the processes.

    Args:
      path: folder to write; its parents are made.
      model: any model of `dgmjax.models`, or a class decorated with ``@dgmjax.recorded``. Its arrays are those of one
        process, as `dgmjax.fit` returns them, or global arrays; parts that other processes have are gathered.

    Raises:
      TypeError: the model cannot describe its constructor, or was made with a lambda or a function inside of another.
      FileExistsError: ``path`` exists and is not a saved model.
      RuntimeError: several processes, of which some did not call it.

    Example:
      >>> import tempfile, dgmjax as dgm
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     dgm.save(f"{folder}/model", dgm.Flow(dgm.DiagonalLinear((2,))))
      ...     dgm.load(f"{folder}/model").event_shape
      (2,)
    """
    folder = pathlib.Path(path).absolute()
    params, fixed, _ = partition(model)
    name = f"save {folder}"
    arrays = whole(params | fixed, name=name)
    agree(lambda: _write(folder, model, arrays), name=name, longest=_LONGEST_WAIT, told=10.0)


def _write(path: pathlib.Path, model: nnx.Module, arrays: dict[str, np.ndarray]) -> None:
    """By one process."""
    path = _recover(path)
    if path.exists() and not (path / "model.json").exists():
        raise FileExistsError(f"{path} exists and is not a saved model; choose another path.")
    record = {
        "model": record_of(model),
        "arrays": {
            name: {"shape": list(array.shape), "dtype": np.dtype(array.dtype).name}
            for name, array in arrays.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    new, old = path.with_name(f".{path.name}.new"), _old(path)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    with _checkpointer() as (checkpointer, args):
        checkpointer.save(new / "arrays", args=args.StandardSave(arrays))
    (new / "model.json").write_text(json.dumps(record, indent=1))
    write_manifest(new)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def load(path: str | pathlib.Path, *, modules: Sequence[str] = ()) -> Any:
    """Read the model that `save` wrote, onto the first device of this process; works on any number of devices.

    A process asks no other: one may call it, or all.

    Args:
      path: the folder.
      modules: your own modules that may be imported for functions and classes that the model was made with, each with
        all inside of it, e.g. ``["my_nets"]``. Importing runs their code, so nothing else is imported but parts of this
        library and of JAX. Classes decorated with `dgmjax.recorded` need no import if they are defined already.

    Raises:
      FileNotFoundError: no saved model at ``path``.
      RuntimeError: a file is missing, truncated or altered; the message names it.
      ValueError: a class this process does not know, a function of a module that is not among ``modules``, or arrays
        that do not fit.
    """
    modules = (modules,) if isinstance(modules, str) else tuple(modules)
    path = _recover(pathlib.Path(path).absolute())
    if not (path / "model.json").exists():
        raise FileNotFoundError(f"{path} is not a saved model: {path / 'model.json'} is missing.")
    damage = find_damage(path)
    if damage is not None:
        raise RuntimeError(f"saved model {path} is damaged: {damage.what}.")
    record = json.loads((path / "model.json").read_text())
    params, fixed, merge = _shapes(record["model"], modules)
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
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
    with _checkpointer() as (checkpointer, args):
        arrays = checkpointer.restore(path / "arrays", args=args.StandardRestore(like)) | unsaved
    return merge({name: arrays[name] for name in params}, {name: arrays[name] for name in fixed})


@contextlib.contextmanager
def _checkpointer() -> Iterator[tuple[Any, Any]]:
    """Orbax's, with the names of its arguments; its barriers are between the active processes, here this one."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        yield checkpointer, ocp.args


def _old(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.old")


def _recover(path: pathlib.Path) -> pathlib.Path:
    """A writer killed between its two renames left the model under its old name: put it back."""
    if not path.exists() and _old(path).exists():
        with contextlib.suppress(FileNotFoundError):  # several processes may load at once
            _old(path).rename(path)
    return path


def _shapes(
    record: dict[str, Any], modules: Sequence[str]
) -> tuple[Arrays, Arrays, Callable[[Arrays, Arrays], Any]]:
    """`partition` of the described model with shapes for arrays: no weights are drawn just to be overwritten."""
    merges = []

    def build_and_split() -> tuple[Arrays, Arrays]:
        params, fixed, merge = partition(build(record, rngs=nnx.Rngs(0), modules=modules))
        merges.append(merge)
        return params, fixed

    params, fixed = jax.eval_shape(build_and_split)
    return params, fixed, merges[0]
