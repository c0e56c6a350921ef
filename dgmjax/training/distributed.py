"""Several processes as one run, on JAX's own distributed runtime."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (ValueError, TypeError, RuntimeError, OSError)
}


def initialize(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout: int = 100,
) -> None:
    """Join the processes of this run; to be called before anything that touches a device.

    On Slurm, Open MPI, Kubernetes and Cloud TPU no argument is needed. Elsewhere give all of the first three.

    Args:
      coordinator: ``host:port`` of process 0, where it listens.
      num_processes: how many take part.
      process_id: this one, from 0.
      heartbeat_timeout: seconds after which a process that says nothing counts as dead and ends the others.

    Raises:
      ValueError: the cluster was not recognised and arguments are missing.
      RuntimeError: devices were used before.
    """
    given = (coordinator, num_processes, process_id)
    detection = "deactivate" if None not in given else None
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            cluster_detection_method=detection,
            heartbeat_timeout_seconds=heartbeat_timeout,
        )
    except ValueError as error:
        raise ValueError(
            f"distributed: {error} No Slurm, Open MPI, Kubernetes or Cloud TPU was recognised; give the address of "
            f"process 0, the number of processes and the number of this one (--coordinator host:port "
            f"--num-processes N --process-id I), got {given}."
        ) from None


def is_first() -> bool:
    """Whether this process writes logs, pictures and results."""
    return jax.process_index() == 0


def agree(function: Callable[[], Any]) -> Any:
    """What ``function`` returns in process 0, in every process: one looks at the files, and all do the same.

    The result is JSON. An exception is raised everywhere, so that no process waits for one that has given up.
    """
    if jax.process_count() == 1:
        return function()
    outcome: dict[str, Any] = {}
    cause: Exception | None = None
    if is_first():
        try:
            outcome = {"value": function()}
            json.dumps(outcome)
        except Exception as error:
            cause = error
            kind = next((n for n, e in _ERRORS.items() if isinstance(error, e)), "RuntimeError")
            outcome = {"error": kind, "message": str(error)}
    content = np.frombuffer(json.dumps(outcome).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(content.size, np.int32)))
    if not is_first():
        content = np.zeros(size, np.uint8)
    outcome = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(content)).tobytes())
    if "error" in outcome:
        raise _ERRORS[outcome["error"]](outcome["message"]) from cause
    return outcome["value"]


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


def barrier(name: str) -> None:
    """Wait until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def is_loss_of_another(error: BaseException) -> bool:
    """Whether communication failed, rather than this program."""
    own = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    return isinstance(error, jax.errors.JaxRuntimeError) and not str(error).startswith(own)
