"""Typed settings of PixelCNN++ and its predecessors."""

import dataclasses
from typing import Any, ClassVar, Literal

import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.flow import ComputeDtype
from experiments.settings.model import ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelCNNConfig(ModelConfig):
    """A PixelCNN++, or one of its predecessors."""

    constructor: ClassVar[Any] = dgm.PixelCNNpp
    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "pixelcnn"
    depth: int = 5
    """Blocks of a resolution and a stream."""
    width: int = 160
    """Channels."""
    variant: Literal["pixelcnnpp", "gated", "plain"] = "pixelcnnpp"
    """Which network."""
    resolutions: int | None = None
    """Number of resolutions; by default 3 of pixelcnnpp, and 1 of the others, which have no more."""
    num_components: int = 10
    """Logistics of a pixel."""
    likelihood: Literal["logistic_mixture", "categorical"] = "logistic_mixture"
    """Distribution of a pixel."""
    dropout: float = 0.5
    """Dropout, in training."""
    compute_dtype: ComputeDtype | None = None
    """Mixed precision: the network computes in this dtype."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = UNIFORM,
    ) -> Any:
        """The model of the integers themselves, so ``dequantization`` is not used."""
        del dequantization
        if dataset.num_levels is None:
            raise ValueError(f"pixelcnn models integers, and {dataset.name} is continuous.")
        options = self.options(dataset, conditional=conditional)
        return self.constructor(dataset.event_shape, dataset.num_levels, **options, rngs=rngs)
