"""Typed, frozen configurations of runs. ``experiments/configs/`` holds one a file, named after its result."""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from typing import Any

import tyro

from experiments.models import SYSTEMS, FlowConfig, RealNVPConfig


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with clipping, linear warm-up and cosine decay to 0."""

    learning_rate: float = 1e-3
    """Peak."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.0
    """Decoupled, on matrices."""
    clip_norm: float = 10.0
    """Largest global gradient norm."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Length, batches, averaging, early stopping."""

    steps: int = 2_000
    """Optimizer steps."""
    batch_size: int = 256
    """Rows a step."""
    ema_decay: float = 0.99
    """Decay of the averaged weights, which are evaluated and kept."""
    eval_every: int = 100
    """Steps between evaluations, logs and checkpoints."""
    patience: int = 20
    """Evaluations without improvement before stopping."""
    init_rows: int | None = None
    """Rows from which data-dependent layers are set; default all."""
    accumulate: int = 1
    """Parts of a batch that are taken one after the other, for less memory."""
    steps_per_call: int = 1
    """Steps that one program takes; divides steps and eval-every."""


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random warps of training images; only for images."""

    warp: float = 0.0
    """Probability of a small affine warp."""
    shift: float = 0.0
    """Probability of a shift by one pixel."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One run. Any field is an option, e.g. ``--optimizer.learning-rate 3e-4``."""

    name: tyro.conf.Suppress[str]
    data: str
    """A name (digits, two_moons, mnist, tfds:NAME, ...; see docs/data.md), or a .npy / .npz file."""
    num_levels: int | None = None
    """For a file of integers: number of levels; the values are 0 .. num_levels - 1."""
    conditional: bool = False
    """Condition on the class labels of the data."""
    seed: int = 0
    """Of weights, batches and noise."""
    model: FlowConfig = dataclasses.field(default_factory=RealNVPConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)


def config_names() -> list[str]:
    """Every config: one a file of ``experiments/configs``, and those of its suites."""
    return sorted(_configs())


def load_config(name: str) -> Config:
    """The config called ``name``.

    Raises:
      ValueError: unknown name; the message lists the nearest.
    """
    configs = _configs()
    if name not in configs:
        near = difflib.get_close_matches(name, configs, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"unknown config {name!r}; {hint}Known configs: {', '.join(configs)}.")
    return configs[name]


@functools.cache
def _configs() -> dict[str, Config]:
    import experiments.configs

    found: dict[str, Config] = {}
    for info in pkgutil.iter_modules(experiments.configs.__path__):
        module = importlib.import_module(f"experiments.configs.{info.name}")
        found |= getattr(module, "CONFIGS", None) or {info.name: module.CONFIG}
    return found


def config_from_dict(values: dict[str, Any]) -> Config:
    """The inverse of ``dataclasses.asdict``, for the ``config.json`` of a run."""
    parts = {
        "model": SYSTEMS[values["model"]["system"]],
        "optimizer": OptimizerConfig,
        "training": TrainingConfig,
        "augment": AugmentConfig,
    }
    return Config(**{k: parts[k](**v) if k in parts else v for k, v in values.items()})
