"""How a command runs: devices, processes, compiled programs. Nothing here changes what it computes."""

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import jax

import dgmjax as dgm
from dgmjax.training import Strategy


@dataclasses.dataclass(frozen=True)
class Processes:
    """Processes of a command."""

    distributed: bool = False
    """Join several processes as one run; those of Slurm, Open MPI, Kubernetes and Cloud TPU find each other."""
    coordinator: str | None = None
    """host:port of process 0, where nothing is recognised."""
    num_processes: int | None = None
    """Number of processes, where nothing is recognised; 1 for a task of a launcher that runs by itself."""
    process_id: int | None = None
    """This process, from 0, where nothing is recognised."""
    heartbeat_timeout: int = 100
    """Seconds after which a silent process counts as dead and ends the others."""
    compilation_cache: bool = True
    """Keep compiled programs in ~/.cache/dgmjax/xla."""

    def start(self, options: Any) -> None:
        """Before anything touches a device. Tasks that a launcher started together become the processes of one run.

        Raises:
          ValueError: the processes cannot find each other, or were started with different ``options``.
        """
        if self.compilation_cache:
            dgm.training.use_compilation_cache()
        given = (self.coordinator, self.num_processes, self.process_id)
        tasks = dgm.training.several_tasks()
        if jax.distributed.is_initialized():
            pass  # a command after another, in the same processes
        elif self.distributed or (tasks is not None and self.num_processes != 1):
            try:
                dgm.training.initialize(
                    coordinator=self.coordinator,
                    num_processes=self.num_processes,
                    process_id=self.process_id,
                    heartbeat_timeout=self.heartbeat_timeout,
                )
            except ValueError as error:
                if self.distributed:
                    raise
                raise ValueError(
                    f"{error} A task that runs by itself, in a directory of its own, says so: --num-processes 1."
                ) from None
            if not self.distributed and dgm.training.is_first():
                print(f"{tasks}: the tasks are processes of one run.", flush=True)
        elif given not in ((None, None, None), (None, 1, None)):
            raise ValueError(
                "--coordinator, --num-processes and --process-id are for --distributed."
            )
        same = dataclasses.replace(options, runtime=type(self)())
        dgm.training.check_same({"options": repr(same)})


@dataclasses.dataclass(frozen=True)
class Runtime(Processes):
    """Devices and processes of a run."""

    strategy: Strategy = "jit"
    """How steps are spread over devices."""
    fsdp: int = 1
    """Devices over which parameters and optimizer state are split; with the strategy jit."""
    num_devices: int | None = None
    """Devices to use; default as many as divide the batch, all with several processes."""

    def parallel(self, batch_size: int, accumulate: int) -> dgm.training.Parallel:
        """How `dgmjax.fit` is to spread its steps."""
        devices = self.num_devices
        if devices is None:
            devices = dgm.training.Parallel.for_batch(batch_size, accumulate).num_devices
        return dgm.training.Parallel(self.strategy, self.fsdp, devices)


def run_in_all(command: Callable[[Any], None], options: Any) -> None:
    """``command(options)`` in all processes that ``options.runtime`` starts, all with the same options.

    An error is the last line, and the status 1.
    """
    try:
        options.runtime.start(options)
        command(options)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError, FloatingPointError) as error:
        fail(error)


def run_in_first(command: Callable[[Any], None], options: Any) -> None:
    """``command(options)`` in the first process, which does all the work; the others wait for it and end as it does."""
    run_in_all(lambda options: dgm.training.agree(lambda: command(options)), options)


def refuse_tasks(command: str) -> None:
    """Raises ValueError if a launcher started several tasks of a command that runs in one process."""
    tasks = dgm.training.several_tasks()
    if tasks is not None:
        raise ValueError(f"{command} runs in one process, but {tasks}; start it once.")


def fail(error: BaseException) -> NoReturn:
    """End the command with ``error`` as its last line and status 1."""
    if jax.distributed.is_initialized():
        # At once: the farewell of the runtime would wait for processes that are gone, or for this one.
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    raise SystemExit(f"error: {error}") from error
