"""How a command runs: devices, processes, compiled programs. Nothing here changes what it computes."""

import dataclasses
import os
import sys
from typing import NoReturn

import jax

import dgmjax as dgm
from dgmjax.training import Strategy


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Devices and processes of a run."""

    strategy: Strategy = "jit"
    """How steps are spread over devices."""
    fsdp: int = 1
    """Devices over which parameters and optimizer state are split; with the strategy jit."""
    num_devices: int | None = None
    """Devices to use; default as many as divide the batch, all with several processes."""
    distributed: bool = False
    """One of several processes; Slurm, Open MPI, Kubernetes and Cloud TPU are recognised."""
    coordinator: str | None = None
    """host:port of process 0, where nothing is recognised."""
    num_processes: int | None = None
    """Number of processes, where nothing is recognised."""
    process_id: int | None = None
    """This process, from 0, where nothing is recognised."""
    heartbeat_timeout: int = 100
    """Seconds after which a silent process counts as dead and ends the others."""
    compilation_cache: bool = True
    """Keep compiled programs in ~/.cache/dgmjax/xla."""

    def start(self) -> None:
        """Before anything touches a device."""
        if self.compilation_cache:
            dgm.training.use_compilation_cache()
        if self.distributed:
            dgm.training.initialize(
                coordinator=self.coordinator,
                num_processes=self.num_processes,
                process_id=self.process_id,
                heartbeat_timeout=self.heartbeat_timeout,
            )
        elif (self.coordinator, self.num_processes, self.process_id) != (None, None, None):
            raise ValueError(
                "--coordinator, --num-processes and --process-id are for --distributed."
            )

    def parallel(self, batch_size: int, accumulate: int) -> dgm.training.Parallel:
        """How `dgmjax.fit` is to spread its steps."""
        devices = self.num_devices
        if devices is None:
            devices = dgm.training.Parallel.for_batch(batch_size, accumulate).num_devices
        return dgm.training.Parallel(self.strategy, self.fsdp, devices)


def fail(error: BaseException) -> NoReturn:
    """End the command with ``error`` as its last line and status 1."""
    if jax.distributed.is_initialized():
        # At once: the farewell of the runtime would wait for processes that are gone, or for this one.
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    raise SystemExit(f"error: {error}") from error
