"""Typed settings of the flows on images."""

import dataclasses
from typing import Any, ClassVar, Literal

import tyro

import dgmjax as dgm
from experiments.settings.flow import ComputeDtype, FlowConfig, ScaleFn


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFlowConfig(FlowConfig):
    """What flows on images share."""

    images: ClassVar[bool] = True
    scale_fn: ScaleFn = "tanh"
    """Map of the log-scales."""
    dropout: float = 0.0
    """Dropout of the conditioners, in training."""
    reversible: bool = True
    """Gradients in the activation memory of one step."""
    remat: bool = False
    """Gradients that recompute what is inside a step; not with reversible."""
    compute_dtype: ComputeDtype | None = None
    """Mixed precision: the conditioners compute in this dtype."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRealNVPConfig(ImageFlowConfig):
    """A RealNVP on images."""

    constructor: ClassVar[Any] = dgm.ImageRealNVP
    system: tyro.conf.Suppress[str] = "realnvp_images"
    depth: int = 3
    """Couplings of a group."""
    activation: str = "relu"
    """Activation of the conditioners."""
    hidden_layers: int = 4
    """Residual blocks of the conditioners."""
    levels: int = 2
    """Scales."""
    widen: bool = True
    """Double the width for channels and with every scale."""
    normalization: Literal["actnorm", "batch", "none"] = "actnorm"
    """Normalization after couplings and in networks; with batch, activations are stored whatever reversible says."""
    shift_first: bool = False
    """x = (z + t) s instead of x = s z + t."""

    def options(self, dataset: dgm.data.Dataset, *, conditional: bool) -> dict[str, Any]:
        """As of every model; statistics of a batch have no way back for a reversible stack."""
        options = super().options(dataset, conditional=conditional)
        return options | {"reversible": self.reversible and self.normalization != "batch"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlowConfig(ImageFlowConfig):
    """A Glow on images."""

    constructor: ClassVar[Any] = dgm.Glow
    system: tyro.conf.Suppress[str] = "glow"
    activation: str = "relu"
    """Activation of the conditioners."""
    levels: int = 3
    """Levels; 2 to their power divides the sides."""
    coupling: Literal["affine", "additive"] = "affine"
    """Kind of the couplings."""
    mixing: Literal["conv1x1", "shuffle", "reverse"] = "conv1x1"
    """What mixes the channels between couplings."""
    parametrization: Literal["plu", "dense"] = "plu"
    """Of the 1x1 convolutions."""
    principal: bool = False
    """Begin each level with a 1x1 convolution that starts at the principal axes of its channels."""
    learned_prior: bool = True
    """Gaussian priors with learned moments."""
    anchor_every: int | None = None
    """Exact activations that a reversible level stores: one after every so many steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowPPConfig(ImageFlowConfig):
    """A Flow++ on images."""

    constructor: ClassVar[Any] = dgm.FlowPP
    system: tyro.conf.Suppress[str] = "flowpp"
    couplings: tuple[int, int, int] = (4, 2, 3)
    """Numbers of couplings: of checkerboards, of channels after a squeeze, of checkerboards there."""
    num_components: int = 32
    """Logistics of a coupling."""
    coupling: Literal["mixture", "affine"] = "mixture"
    """Kind of the couplings."""
    attention: bool = True
    """Self-attention in the networks; without it an elementwise map with as many parameters."""
    num_heads: int = 4
    """Heads of the attention."""
    pattern: Literal["checkerboard", "columns"] = "checkerboard"
    """Which pixels are the first half."""
    remat_blocks: bool = False
    """Recompute what is inside the blocks of the networks."""
