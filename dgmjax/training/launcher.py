"""The tasks of a launcher: what the program that started this process says about the others that it started."""

import dataclasses
import os
from collections.abc import Mapping

# Launcher, the number of this task, the number of tasks. Launchers that run inside others come first.
_LAUNCHERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("torchrun", "RANK", ("WORLD_SIZE",)),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
    ("MVAPICH", "MV2_COMM_WORLD_RANK", ("MV2_COMM_WORLD_SIZE",)),
    ("MPI (PMI)", "PMI_RANK", ("PMI_SIZE",)),
    ("jsrun", "JSM_NAMESPACE_RANK", ("JSM_NAMESPACE_SIZE",)),
    ("Flux", "FLUX_TASK_RANK", ("FLUX_JOB_SIZE",)),
    # Of the step before of the job: an interactive step of one task may belong to a job of many.
    ("Slurm", "SLURM_PROCID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")),
    # An indexed job does not tell its pods how many they are.
    ("Kubernetes", "JOB_COMPLETION_INDEX", ()),
)


@dataclasses.dataclass(frozen=True)
class Tasks:
    """Tasks that were started together.

    Attributes:
      launcher: by what.
      count: how many; None if only the launcher knows.
      rank: the number of this one, from 0; None if `count` is.
    """

    launcher: str
    count: int | None
    rank: int | None

    def __str__(self) -> str:
        """Half a sentence."""
        if self.count is None:
            return f"{self.launcher} started it as a task of an indexed job"
        return f"{self.launcher} started it as task {self.rank} of {self.count}"


def several_tasks(environ: Mapping[str, str] | None = None) -> Tasks | None:
    """The tasks that this process is one of, from the variables of its launcher; None if it was started alone.

    Args:
      environ: variables; default those of this process.
    """
    environ = os.environ if environ is None else environ
    for launcher, rank, counts in _LAUNCHERS:
        if not environ.get(rank, "").isdecimal():
            continue
        if not counts:
            return Tasks(launcher, None, None)
        count = next((environ[name] for name in counts if environ.get(name, "").isdecimal()), "1")
        if int(count) > 1:
            return Tasks(launcher, int(count), int(environ[rank]))
    return None
