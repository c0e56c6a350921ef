"""Typed settings of PixelCNN++ and its predecessors."""

from typing import ClassVar

import tyro

import dgmjax as dgm
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.derived import settings_of
from experiments.settings.model import ModelConfig


@settings_of(dgm.PixelCNNpp)
class PixelCNNConfig(ModelConfig):
    """A PixelCNN++, or one of its predecessors."""

    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "pixelcnn"

    def check(
        self, dataset: dgm.data.Dataset, *, conditional: bool, dequantization: DequantizationConfig
    ) -> None:
        """Refuse continuous data, also."""
        super().check(dataset, conditional=conditional, dequantization=dequantization)
        if dataset.num_levels is None:
            raise ValueError(f"pixelcnn models integers, and {dataset.name} is continuous.")
