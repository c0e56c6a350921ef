"""Typed settings of the systems on vectors, and what those on images share with them.

One dataclass a model of `dgmjax.models`, whose fields are arguments of its constructor.
"""

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
import optax
import tyro
from flax import nnx

import dgmjax as dgm
from experiments.dequantization import DequantizationConfig
from experiments.likelihoods import NOISE_DRAWS, as_record, likelihood_on, plus_minus

ScaleFn = Literal["tanh", "sigmoid", "double_sigmoid", "softplus", "exp"]
ComputeDtype = Literal["bfloat16", "float16"]
Mask = Literal["alternating", "half", "checkerboard"]
_OF_THE_CONFIG = ("system", "preprocess", "alpha", "pseudo_count")
_UNIFORM = DequantizationConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What all models share."""

    constructor: ClassVar[Any]
    images: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False  # classes are the context, whether asked for or not
    monitor: ClassVar[str] = "nats"  # what selects weights, and its curve
    monitor_label: ClassVar[str] = "negative log-likelihood [nats]"

    system: tyro.conf.Suppress[str]
    depth: int = 8
    """Number of layers."""
    width: int = 64
    """Hidden units of the networks."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = _UNIFORM,
    ) -> Any:
        """The model for ``dataset``, ``conditional`` on its labels if asked."""
        raise NotImplementedError

    def loss(self) -> Any:
        """The training loss, or losses by the part of the model that they train."""
        return dgm.objectives.maximum_likelihood

    def validation_loss(self) -> Any:
        """The loss of validation, whatever that of training is; None if nothing can be selected by it."""
        return dgm.objectives.negative_log_likelihood

    def optimizers(self, default: optax.GradientTransformation) -> Any:
        """The optimizer made of the settings, or one for each loss."""
        return default

    def measure(
        self, model: Any, x: np.ndarray, context: np.ndarray | None, *, seed: int
    ) -> dict[str, Any]:
        """The numbers of a trained model on the rows of a split, for ``result.json``."""
        found = likelihood_on(model, x, context, seed=seed)
        return as_record(found, draws=NOISE_DRAWS)

    def headline(self, test: dict[str, Any]) -> str:
        """The numbers of a split in a line."""
        bits = f" ({test['bits_per_dim']:.3f} bits/dim)" if "bits_per_dim" in test else ""
        error = plus_minus(test["standard_error_nats"])
        return f"log-likelihood {-test['nats']:.2f}{error} nats{bits}, {test['bound']}"

    def options(self, dataset: dgm.data.Dataset, *, conditional: bool) -> dict[str, Any]:
        """The fields that are arguments of the constructor, by name, and the shape of the context."""
        names = [field.name for field in dataclasses.fields(self)]
        options = {name: getattr(self, name) for name in names if name not in _OF_THE_CONFIG}
        return options | ({"context_shape": dataset.context_shape} if conditional else {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowConfig(ModelConfig):
    """What all flows share."""

    preprocess: Literal["none", "standardize", "logit", "histogram", "shared_histogram"] = (
        "standardize"
    )
    """Fixed first layer on the data."""
    alpha: float = 0.05
    """Margin of the logit."""
    pseudo_count: float = 1.0
    """Smoothing of the histogram."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = _UNIFORM,
    ) -> Any:
        """The flow for ``dataset``: dequantized if its values are integers; ``conditional`` on its labels if asked."""
        if dequantization.kind == "gaussian" and self.preprocess not in ("none", "standardize"):
            raise ValueError(
                f"dequantization.kind: gaussian noise leaves the range of the data, outside of which "
                f"{self.preprocess!r} has no value; use --model.preprocess standardize."
            )
        options = self.options(dataset, conditional=conditional)
        if options.get("mask") == "checkerboard":
            options["mask"] = _checkerboard(dataset)
        flow = self.constructor(
            dataset.event_shape, **options, preprocess=self._preprocess(dataset), rngs=rngs
        )
        if dataset.num_levels is None:
            return flow
        noise = dequantization.build(dataset.event_shape, dataset.num_levels, rngs)
        return dgm.Dequantized(flow, dataset.num_levels, noise)

    def _preprocess(self, dataset: dgm.data.Dataset) -> dgm.Bijector | None:
        shape, levels = dataset.event_shape, dataset.num_levels
        if self.preprocess in ("logit", "histogram", "shared_histogram") and levels is None:
            raise ValueError(
                f"model.preprocess: {self.preprocess!r} needs integer data with --num-levels, and {dataset.name} is "
                f"continuous; use --model.preprocess standardize."
            )
        if self.preprocess == "logit":
            return dgm.Logit(shape, float(levels or 0), alpha=self.alpha)
        if self.preprocess in ("histogram", "shared_histogram"):
            return dgm.HistogramGaussianize(
                shape,
                levels or 0,
                pseudo_count=self.pseudo_count,
                shared=self.preprocess == "shared_histogram",
            )
        return dgm.Standardize(shape) if self.preprocess == "standardize" else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorFlowConfig(FlowConfig):
    """What flows on vectors share."""

    hidden_layers: int = 2
    """Hidden layers of the conditioners."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CouplingConfig(VectorFlowConfig):
    """What coupling flows share."""

    mask: Mask = "alternating"
    """Elements that the first coupling leaves unchanged; the next ones alternate."""
    activation: str = "relu"
    """Activation of the conditioners."""
    dropout: float = 0.0
    """Dropout of the conditioners, in training."""
    reversible: bool = False
    """Gradients in the activation memory of one layer."""
    remat: bool = False
    """Gradients that keep the input of each layer only and recompute the rest; not with reversible."""
    compute_dtype: ComputeDtype | None = None
    """Mixed precision: the conditioners compute in this dtype."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealNVPConfig(CouplingConfig):
    """A RealNVP on flattened events."""

    constructor: ClassVar[Any] = dgm.RealNVP
    system: tyro.conf.Suppress[str] = "realnvp"
    scale_fn: ScaleFn = "tanh"
    """Map of the log-scales."""
    shift_first: bool = False
    """x = (z + t) s instead of x = s z + t."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NICEConfig(CouplingConfig):
    """A NICE on flattened events."""

    constructor: ClassVar[Any] = dgm.NICE
    system: tyro.conf.Suppress[str] = "nice"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplineConfig(CouplingConfig):
    """A neural spline flow with coupling layers."""

    constructor: ClassVar[Any] = dgm.NeuralSplineFlow
    system: tyro.conf.Suppress[str] = "spline"
    num_bins: int = 8
    """Bins of a spline."""
    bound: float = 4.0
    """Half the width of the square of the splines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IAFConfig(VectorFlowConfig):
    """An inverse autoregressive flow."""

    constructor: ClassVar[Any] = dgm.IAF
    system: tyro.conf.Suppress[str] = "iaf"
    transformer: Literal["affine", "gated", "spline"] = "affine"
    """The elementwise map."""
    scale_fn: ScaleFn = "tanh"
    """Map of the log-scales of the affine transformer."""
    sequential: Literal["incremental", "jacobi"] = "incremental"
    """How the sequential direction runs."""
    activation: str = "relu"
    """Activation of the MADEs."""
    remat: bool = False
    """Gradients that keep the input of each pair of layers only and recompute the rest."""
    compute_dtype: ComputeDtype | None = None
    """Mixed precision: the MADEs compute in this dtype."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAFConfig(IAFConfig):
    """A masked autoregressive flow."""

    constructor: ClassVar[Any] = dgm.MAF
    system: tyro.conf.Suppress[str] = "maf"
    dropout: float = 0.0
    """Dropout of the MADEs, in training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanarConfig(VectorFlowConfig):
    """A planar flow."""

    constructor: ClassVar[Any] = dgm.PlanarFlow
    system: tyro.conf.Suppress[str] = "planar"
    h: Literal["tanh", "sigmoid", "softplus", "leaky_relu"] = "tanh"
    """The nonlinearity."""
    fast: Literal["density", "sampling"] = "density"
    """The direction that has the formula."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RadialConfig(VectorFlowConfig):
    """A radial flow."""

    constructor: ClassVar[Any] = dgm.RadialFlow
    system: tyro.conf.Suppress[str] = "radial"
    fast: Literal["density", "sampling"] = "density"
    """The direction that has the formula."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualConfig(VectorFlowConfig):
    """A residual flow."""

    constructor: ClassVar[Any] = dgm.ResidualFlow
    system: tyro.conf.Suppress[str] = "residual"
    coefficient: float = 0.97
    """Bound on the spectral norm of every kernel."""
    log_det: Literal["exact", "truncated", "unbiased"] = "exact"
    """The log-determinant in training."""


def _checkerboard(dataset: dgm.data.Dataset) -> Any:
    if dataset.image_shape is None:
        raise ValueError(
            f"model.mask: 'checkerboard' needs images, and {dataset.name} is not known to hold any; use "
            f"--model.mask alternating."
        )
    height, width, channels = dataset.image_shape
    mask = dgm.bijectors.checkerboard_mask((height, width))[..., None].repeat(channels, -1)
    return mask.ravel()
