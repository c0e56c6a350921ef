"""Several processes as one run, on JAX's own distributed runtime."""

import collections
import contextlib
import contextvars
import hashlib
import json
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dgmjax.training.launcher import several_tasks

# What an exception of the first process is in the others, the special before the general.
_ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error
    for error in (
        FileNotFoundError,
        FileExistsError,
        OSError,
        ImportError,
        FloatingPointError,
        ValueError,
        TypeError,
        RuntimeError,
        SystemExit,
    )
}
_LOOK_EVERY = 2.0  # seconds: between two looks Python hears of signals
_calls: collections.Counter[str] = collections.Counter()
_alone = contextvars.ContextVar("alone", default=False)


def initialize(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout: int = 100,
) -> None:
    """Join the processes of this run; to be called before anything that touches a device.

    On Slurm, Open MPI 4, Kubernetes and Cloud TPU no argument is needed. Under other launchers that number their tasks
    (Open MPI 5, MPICH, torchrun, Flux) ``coordinator`` is enough. Elsewhere give all of the first three.

    Args:
      coordinator: ``host:port`` of process 0, where it listens.
      num_processes: how many take part.
      process_id: this one, from 0.
      heartbeat_timeout: seconds after which a process that says nothing counts as dead and ends the others.

    Raises:
      ValueError: the cluster was not recognised and arguments are missing.
      RuntimeError: devices were used before, or the processes did not find each other.
    """
    given = (coordinator, num_processes, process_id)
    tasks = several_tasks()
    who = "this process was not started as one of several"
    if tasks is not None:
        who = str(tasks)
        num_processes = tasks.count if num_processes is None else num_processes
        process_id = tasks.rank if process_id is None else process_id
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            cluster_detection_method="deactivate" if None not in given else None,
            heartbeat_timeout_seconds=heartbeat_timeout,
        )
    except ValueError as error:
        raise ValueError(
            f"distributed: {error} No Slurm (srun), Open MPI, Kubernetes or Cloud TPU was recognised, and {who}; give "
            f"the address of process 0, the number of processes and the number of this one (--coordinator host:port "
            f"--num-processes N --process-id I), got {given}."
        ) from None


def is_first() -> bool:
    """Whether this process writes logs, pictures and results."""
    return jax.process_index() == 0


def agree(
    function: Callable[[], Any], *, name: str = "", longest: float = math.inf, told: float = 60.0
) -> Any:
    """What ``function`` returns in process 0, in every process: one looks at the files, and all do the same.

    The others wait until it is done; the first waits for nobody. The result is JSON. An exception is raised
    everywhere, so that no process waits for one that has given up. What the first does inside it does alone: a call of
    `agree` in ``function`` is that of its own function.

    Args:
      function: called in the first process only.
      name: a series of calls. The first call of a process meets the first call of the others with the same name, the
        second the second, and so on.
      longest: seconds that the others wait.
      told: seconds that the first waits, after an exception, for the others to hear of it.

    Raises:
      RuntimeError: the first process ended meanwhile, or did not call this in time.
    """
    if jax.process_count() == 1 or _alone.get():
        return function()
    _calls[name] += 1
    key = f"dgmjax/{name}/{_calls[name]}"
    if not is_first():
        outcome = json.loads(_wait_for(key, longest))
        if "error" in outcome:
            with contextlib.suppress(RuntimeError):  # the first gave up waiting for this one
                _meet(key, told)
            raise _ERRORS[outcome["error"]](outcome["message"])
        return outcome["value"]
    token = _alone.set(True)
    try:
        text = json.dumps({"value": function()})
    except BaseException as error:
        kind = next((n for n, e in _ERRORS.items() if isinstance(error, e)), "RuntimeError")
        message = error.code if isinstance(error, SystemExit) else str(error)
        _store().key_value_set(key, json.dumps({"error": kind, "message": message}))
        with contextlib.suppress(RuntimeError):
            _meet(key, told)
        raise
    finally:
        _alone.reset(token)
    _store().key_value_set(key, text)
    return json.loads(text)["value"]


def whole(arrays: dict[str, Any], *, name: str, longest: float = 300.0) -> dict[str, np.ndarray]:
    """Copies of ``arrays`` in host memory; of those that are spread over processes, which all have to call it then.

    Args:
      arrays: by name: of this process, copies in all processes, or parts in each.
      name: says in the error whose arrays they are.
      longest: seconds to wait for the others, if there are parts.

    Raises:
      RuntimeError: there are parts, and not all processes came for them.
    """
    parts = [n for n, array in arrays.items() if _is_in_parts(array)]
    if parts:
        _calls["whole"] += 1
        try:
            _meet(f"dgmjax/whole/{_calls['whole']}", longest)
        except RuntimeError as error:
            raise RuntimeError(
                f"{name}: arrays are spread over the {jax.process_count()} processes, e.g. {parts[0]}, so all of them "
                f"have to make this call; waited {longest:g} s for them."
            ) from error
    return {
        n: multihost_utils.process_allgather(array, tiled=True) if n in parts else np.asarray(array)
        for n, array in arrays.items()
    }


def is_local(array: Any) -> bool:
    """Whether this process has all of ``array`` and knows of no other that has it."""
    return not isinstance(array, jax.Array) or array.is_fully_addressable


def _is_in_parts(array: Any) -> bool:
    return not is_local(array) and not array.is_fully_replicated


def any_process(flag: bool) -> bool:  # noqa: FBT001
    """Whether ``flag`` is True in some process; all of them call it."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag, np.int32)).any())


def check_same(settings: dict[str, Any]) -> None:
    """Raises ValueError, in all processes, unless all were called with the same ``settings``."""
    if jax.process_count() == 1:
        return
    digests = [hashlib.sha256(json.dumps(value).encode()).digest() for value in settings.values()]
    ours = np.stack([np.frombuffer(one, np.uint8) for one in digests])
    everybody = multihost_utils.process_allgather(ours)
    differing = (everybody != everybody[0]).any((0, 2))
    if differing.any():
        names = [name for name, bad in zip(settings, differing, strict=True) if bad]
        raise ValueError(
            f"the processes of this run were called with different {', '.join(names)}; start all of them with the same "
            f"command, settings and data."
        )


def is_loss_of_another(error: BaseException) -> bool:
    """Whether communication failed, rather than this program."""
    own = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    return isinstance(error, jax.errors.JaxRuntimeError) and not str(error).startswith(own)


def _wait_for(key: str, longest: float) -> str:
    """The message of the first process under ``key``."""
    end = time.monotonic() + longest
    who = f"process {jax.process_index()} of {jax.process_count()}"
    while True:
        try:
            return _store().blocking_key_value_get(key, int(1_000 * _LOOK_EVERY))
        except jax.errors.JaxRuntimeError as error:
            if not str(error).startswith("DEADLINE_EXCEEDED"):
                raise RuntimeError(
                    f"{who} lost another one, the first, while it waited for it ({str(error).splitlines()[0]}). Start "
                    f"all of them again."
                ) from error
        if time.monotonic() > end:
            raise RuntimeError(
                f"{who} waited {longest:g} s for the first to make the same call ({key}); all have to, or only the "
                f"first."
            )


def _meet(name: str, longest: float) -> None:
    """Wait for all processes, RuntimeError if they do not come; needs no device."""
    _store().wait_at_barrier(name, int(1_000 * longest))


def _store() -> Any:
    """The keys and values that the processes share; JAX has no public name for them."""
    from jax._src import distributed

    client = distributed.global_state.client
    if client is None:
        raise RuntimeError(
            "several processes that have not joined; call dgmjax.training.initialize() in all of them, before "
            "anything that touches a device."
        )
    return client
