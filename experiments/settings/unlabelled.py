"""What the typed settings of models without labels share, which take integers as they are."""

import dataclasses
from typing import Any

from flax import nnx

import dgmjax as dgm
from experiments.settings.dequantization import UNIFORM, DequantizationConfig
from experiments.settings.model import ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnlabelledConfig(ModelConfig):
    """What models of the integers themselves share that take no labels."""

    def build(
        self,
        dataset: dgm.data.Dataset,
        rngs: nnx.Rngs,
        *,
        conditional: bool = False,
        dequantization: DequantizationConfig = UNIFORM,
    ) -> Any:
        """The model of the integers, so ``dequantization`` is not used."""
        del dequantization
        if conditional:
            raise ValueError(f"{self.system} takes no labels; leave --conditional out.")
        return self.make(dataset, rngs)

    def make(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> Any:
        """The model for ``dataset``."""
        raise NotImplementedError
