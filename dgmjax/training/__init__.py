"""Training: state, step, loop, checkpoints, `fit`. Knows a loss function and a pytree, no model."""

from dgmjax.training.batch_source import Source
from dgmjax.training.checkpoint import Checkpoints, Restored
from dgmjax.training.distributed import agree, check_same, initialize, is_first
from dgmjax.training.evaluation import Evaluation
from dgmjax.training.fit import fit
from dgmjax.training.fit_density import fit_density
from dgmjax.training.launcher import Tasks, several_tasks
from dgmjax.training.lock import one_run_at_a_time
from dgmjax.training.loop import Loop
from dgmjax.training.metrics import MetricsLog, StepMetrics, merge_metrics
from dgmjax.training.optimizer import decayed, default_optimizer
from dgmjax.training.options import Execution, Watch
from dgmjax.training.parallel import Parallel, Strategy
from dgmjax.training.partition import partition, statistics_of
from dgmjax.training.per_member import per_member
from dgmjax.training.round_trip import RoundTripWarning
from dgmjax.training.run_state import FitResult, RunState
from dgmjax.training.save import load, save
from dgmjax.training.schedule import Progress, Schedule
from dgmjax.training.step import (
    TrainState,
    averaged_params,
    init_state,
    make_eval_step,
    make_train_step,
)
from dgmjax.training.transfer import Transfer, transfer
from dgmjax.training.watch.compilation_cache import use_compilation_cache
from dgmjax.training.watch.diagnosis import make_diagnosis
from dgmjax.training.watch.flops import count_flops, peak_flops
from dgmjax.training.watch.nonfinite import NonFinite, find_nonfinite
from dgmjax.training.watch.preemption import PreemptedError
from dgmjax.training.watch.program import Program
from dgmjax.training.workdir import claim, read_settings, record_changes

__all__ = [
    "Checkpoints",
    "Evaluation",
    "Execution",
    "FitResult",
    "Loop",
    "MetricsLog",
    "NonFinite",
    "Parallel",
    "PreemptedError",
    "Program",
    "Progress",
    "Restored",
    "RoundTripWarning",
    "RunState",
    "Schedule",
    "Source",
    "StepMetrics",
    "Strategy",
    "Tasks",
    "TrainState",
    "Transfer",
    "Watch",
    "agree",
    "averaged_params",
    "check_same",
    "claim",
    "count_flops",
    "decayed",
    "default_optimizer",
    "find_nonfinite",
    "fit",
    "fit_density",
    "init_state",
    "initialize",
    "is_first",
    "load",
    "make_diagnosis",
    "make_eval_step",
    "make_train_step",
    "merge_metrics",
    "one_run_at_a_time",
    "partition",
    "peak_flops",
    "per_member",
    "read_settings",
    "record_changes",
    "save",
    "several_tasks",
    "statistics_of",
    "transfer",
    "use_compilation_cache",
]
