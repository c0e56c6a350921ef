"""Typed settings of the flows on vectors."""

import dataclasses
from typing import Any, ClassVar, Literal

import tyro

import dgmjax as dgm
from experiments.settings.flow import ComputeDtype, FlowConfig, ScaleFn

Mask = Literal["alternating", "half", "checkerboard"]


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
