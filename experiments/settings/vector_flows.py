"""Typed settings of the flows on vectors."""

from typing import Annotated, Any, Literal

import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.derived import settings_of
from experiments.settings.flow import FlowConfig

Mask = Annotated[
    Literal["alternating", "half", "checkerboard"] | None,
    tyro.conf.arg(
        help="Elements that the first coupling leaves unchanged; checkerboard is for images."
    ),
]


@settings_of()
class CouplingConfig(FlowConfig):
    """What coupling flows share: masks, of which one is that of images."""

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """The first layer, and the mask of images."""
        mask = {"mask": _checkerboard(dataset)} if self.mask == "checkerboard" else {}
        return super().parts(dataset, rngs) | mask


@settings_of(dgm.RealNVP)
class RealNVPConfig(CouplingConfig):
    """A RealNVP on flattened events."""

    system: tyro.conf.Suppress[str] = "realnvp"
    mask: Mask


@settings_of(dgm.NICE)
class NICEConfig(CouplingConfig):
    """A NICE on flattened events."""

    system: tyro.conf.Suppress[str] = "nice"
    mask: Mask


@settings_of(dgm.NeuralSplineFlow)
class SplineConfig(CouplingConfig):
    """A neural spline flow with coupling layers."""

    system: tyro.conf.Suppress[str] = "spline"
    mask: Mask


@settings_of(dgm.IAF, described_by=dgm.MAF)
class IAFConfig(FlowConfig):
    """An inverse autoregressive flow."""

    system: tyro.conf.Suppress[str] = "iaf"


@settings_of(dgm.MAF)
class MAFConfig(FlowConfig):
    """A masked autoregressive flow."""

    system: tyro.conf.Suppress[str] = "maf"


@settings_of(dgm.PlanarFlow)
class PlanarConfig(FlowConfig):
    """A planar flow."""

    system: tyro.conf.Suppress[str] = "planar"


@settings_of(dgm.RadialFlow, described_by=dgm.PlanarFlow)
class RadialConfig(FlowConfig):
    """A radial flow."""

    system: tyro.conf.Suppress[str] = "radial"


@settings_of(dgm.ResidualFlow)
class ResidualConfig(FlowConfig):
    """A residual flow."""

    system: tyro.conf.Suppress[str] = "residual"


def _checkerboard(dataset: dgm.data.Dataset) -> Any:
    if dataset.image_shape is None:
        raise ValueError(
            f"model.mask: 'checkerboard' needs images, and {dataset.name} is not known to hold any; use "
            f"--model.mask alternating."
        )
    height, width, channels = dataset.image_shape
    mask = dgm.bijectors.checkerboard_mask((height, width))[..., None].repeat(channels, -1)
    return mask.ravel()
