"""Typed, frozen settings of a run. ``experiments/configs/`` holds one a file, named after its result."""

import dataclasses
from typing import Any, Literal

import tyro

import dgmjax as dgm
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.model import ModelConfig
from experiments.settings.systems import SYSTEMS
from experiments.settings.vector_flows import RealNVPConfig


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, Adamax or SGD with clipping, linear warm-up and a schedule."""

    learning_rate: float = 1e-3
    """Peak of the rate."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.0
    """Factor of decoupled weight decay, on the kernels of networks; with SGD it is added to the gradient."""
    clip_norm: float | None = 10.0
    """Largest global gradient norm."""
    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.999
    """Decay of the second moment."""
    algorithm: Literal["adamw", "adamax", "sgd"] = "adamw"
    """Algorithm of the updates."""
    schedule: Literal["cosine", "constant", "piecewise"] = "cosine"
    """Course of the rate after the warm-up: down to 0, constant, or in steps."""
    momentum: float = 0.9
    """Decay of the velocity of SGD."""
    milestones: tuple[int, ...] = ()
    """Steps at which the rate of the piecewise schedule is multiplied by decay."""
    decay: float = 0.1
    """Factor of the rate at each milestone."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Length, batches, averaging, early stopping."""

    steps: int = 2_000
    """Optimizer steps; more than a run has taken make it longer."""
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
    """Random changes of training images; only for images."""

    warp: float = 0.0
    """Probability of a small affine warp."""
    shift: float = 0.0
    """Probability of a shift by one pixel."""
    flip: bool = False
    """Mirror half of the images; for photographs. Excludes warp and shift, as does max-shift."""
    max_shift: int = 0
    """Shift every image by up to so many pixels and repeat those at the edge."""

    def build(self, image_shape: tuple[int, int, int] | None) -> Any:
        """What `dgmjax.fit` takes as ``augment``; None for nothing, or where events are no images."""
        warps, moves = self.warp or self.shift, self.flip or self.max_shift
        if image_shape is None or not (warps or moves):
            return None
        if warps and moves:
            raise ValueError(
                "augment: warp and shift are for grey images with an empty border, flip and max-shift for "
                "photographs; choose one pair."
            )
        if warps:
            return dgm.data.RandomWarp(image_shape, self.warp, self.shift)
        return dgm.data.ImageTransform(flip=self.flip, shift=self.max_shift, fill="edge")


@dataclasses.dataclass(frozen=True)
class Config:
    """One run. Any field is an option, e.g. ``--optimizer.learning-rate 3e-4``."""

    name: tyro.conf.Suppress[str]
    data: str
    """A name (digits, two_moons, mnist, tfds:NAME, ...; see docs/data.md), or a .npy / .npz file."""
    num_levels: int | None = None
    """For a file of integers: number of levels; the values are 0 .. num_levels - 1."""
    n_bits: int = 8
    """Bits that 8-bit images keep; fewer make another, easier data set."""
    binarize: bool = False
    """One fixed draw of binary images from 8-bit ones: static binarisation, seed 0."""
    max_rows: int | None = None
    """Use no more than the first so many rows of each split."""
    conditional: bool = False
    """Condition on the class labels of the data."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    init_from: str | None = None
    """Start from the weights of this run directory or saved model, as far as names and shapes of arrays agree."""
    model: ModelConfig = dataclasses.field(default_factory=RealNVPConfig)
    dequantization: DequantizationConfig = UNIFORM
    """Noise of flows on integers."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)


def config_from_dict(values: dict[str, Any]) -> Config:
    """The inverse of ``dataclasses.asdict``, for the ``config.json`` of a run.

    Raises:
      ValueError: settings of another version, with options that there are no more.
    """
    system = values["model"]["system"]
    if system not in SYSTEMS:
        raise ValueError(
            f"this version has no system {system!r}; the systems are {', '.join(SYSTEMS)}."
        )
    parts = {
        "model": SYSTEMS[system],
        "optimizer": OptimizerConfig,
        "training": TrainingConfig,
        "augment": AugmentConfig,
        "dequantization": DequantizationConfig,
    }
    found = {
        name: _read(name, parts[name], value) if name in parts else value
        for name, value in values.items()
    }
    return Config(**found)


def _read(name: str, cls: Any, values: dict[str, Any]) -> Any:
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
    if unknown:
        raise ValueError(
            f"the settings of this run were written by another version: {cls.__name__} has no "
            f"{', '.join(unknown)} in {name}. Read the run with that version, or train anew in another work directory."
        )
    return cls(**{k: _as_given(v) for k, v in values.items()})


def _as_given(value: Any) -> Any:
    """JSON has lists for tuples."""
    return tuple(map(_as_given, value)) if isinstance(value, list) else value
