"""Typed, frozen configurations of runs. ``experiments/configs/`` holds one a file, named after its result."""

import dataclasses
import difflib
import importlib
import pkgutil
from typing import Any, Literal

import tyro
from flax import nnx

import dgmjax as dgm


@dataclasses.dataclass(frozen=True)
class RealNVPConfig:
    """A RealNVP on flattened events."""

    depth: int = 8
    """Number of affine couplings."""
    width: int = 64
    """Hidden units of the conditioners."""
    hidden_layers: int = 2
    """Hidden layers of the conditioners."""
    mask: Literal["alternating", "half", "checkerboard"] = "alternating"
    """Elements that the first coupling leaves unchanged; the next ones alternate."""
    scale_fn: Literal["tanh", "sigmoid", "double_sigmoid", "exp"] = "tanh"
    """Map of the log-scales."""
    activation: str = "relu"
    """Activation of the conditioners."""
    dropout: float = 0.0
    """Dropout of the conditioners, in training."""
    preprocess: Literal["none", "standardize", "logit", "histogram"] = "standardize"
    """Fixed first layer on the data."""
    alpha: float = 0.05
    """Margin of the logit."""
    pseudo_count: float = 1.0
    """Smoothing of the histogram."""

    def build(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> Any:
        """The model for ``dataset``: dequantized if its values are integers."""
        shape = dataset.event_shape
        mask: Any = self.mask
        if mask == "checkerboard":
            if dataset.image_shape is None:
                raise ValueError(
                    f"model.mask: 'checkerboard' needs images, and {dataset.name} is not known to hold any; use "
                    f"--model.mask alternating."
                )
            height, width, channels = dataset.image_shape
            mask = dgm.bijectors.checkerboard_mask((height, width))[..., None].repeat(channels, -1)
            mask = mask.ravel()
        flow = dgm.RealNVP(
            shape,
            depth=self.depth,
            width=self.width,
            hidden_layers=self.hidden_layers,
            mask=mask,
            scale_fn=self.scale_fn,
            activation=self.activation,
            dropout=self.dropout,
            preprocess=self._preprocess(dataset),
            rngs=rngs,
        )
        levels = dataset.num_levels
        return flow if levels is None else dgm.Dequantized(flow, levels)

    def _preprocess(self, dataset: dgm.data.Dataset) -> dgm.Bijector | None:
        shape, levels = dataset.event_shape, dataset.num_levels
        if self.preprocess in ("logit", "histogram") and levels is None:
            raise ValueError(
                f"model.preprocess: {self.preprocess!r} needs integer data with --num-levels, and {dataset.name} is "
                f"continuous; use --model.preprocess standardize."
            )
        if self.preprocess == "logit":
            return dgm.Logit(shape, float(levels or 0), alpha=self.alpha)
        if self.preprocess == "histogram":
            return dgm.HistogramGaussianize(shape, levels or 0, pseudo_count=self.pseudo_count)
        return dgm.Standardize(shape) if self.preprocess == "standardize" else None


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
    """A data set of dgmjax.data.DATASETS, or a .npy / .npz file."""
    num_levels: int | None = None
    """For a file of integers: number of levels; the values are 0 .. num_levels - 1."""
    seed: int = 0
    """Of weights, batches and noise."""
    model: RealNVPConfig = dataclasses.field(default_factory=RealNVPConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)


def config_names() -> list[str]:
    """The files of ``experiments/configs``."""
    import experiments.configs

    modules = pkgutil.iter_modules(experiments.configs.__path__)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def load_config(name: str) -> Config:
    """The config called ``name``.

    Raises:
      ValueError: unknown name; the message lists the nearest.
    """
    names = config_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"unknown config {name!r}; {hint}Known configs: {', '.join(names)}.")
    return importlib.import_module(f"experiments.configs.{name}").CONFIG


def config_from_dict(values: dict[str, Any]) -> Config:
    """The inverse of ``dataclasses.asdict``, for the ``config.json`` of a run."""
    parts = {
        "model": RealNVPConfig,
        "optimizer": OptimizerConfig,
        "training": TrainingConfig,
        "augment": AugmentConfig,
    }
    return Config(**{k: parts[k](**v) if k in parts else v for k, v in values.items()})
