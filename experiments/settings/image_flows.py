"""Typed settings of the flows on images."""

from typing import Any, ClassVar

import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.derived import settings_of
from experiments.settings.flow import FlowConfig


@settings_of()
class ImageFlowConfig(FlowConfig):
    """What flows on images share."""

    images: ClassVar[bool] = True


@settings_of(dgm.ImageRealNVP)
class ImageRealNVPConfig(ImageFlowConfig):
    """A RealNVP on images."""

    system: tyro.conf.Suppress[str] = "realnvp_images"

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """As of every flow; statistics of a batch have no way back for a reversible stack."""
        options = super().parts(dataset, rngs)
        return options | {"reversible": self.reversible and self.normalization != "batch"}


@settings_of(dgm.Glow)
class GlowConfig(ImageFlowConfig):
    """A Glow on images."""

    system: tyro.conf.Suppress[str] = "glow"


@settings_of(dgm.FlowPP)
class FlowPPConfig(ImageFlowConfig):
    """A Flow++ on images."""

    system: tyro.conf.Suppress[str] = "flowpp"
