"""Typed settings of variational autoencoders."""

from typing import Any, ClassVar, Literal

import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.derived import settings_of
from experiments.settings.model import ModelConfig


@settings_of(also=[dgm.objectives.NegativeELBO])
class LatentVariableConfig(ModelConfig):
    """What models with latent variables share: their loss."""

    def loss(self) -> dgm.objectives.NegativeELBO:
        """The training loss."""
        return dgm.objectives.NegativeELBO(self.beta, self.warmup_steps, self.free_bits)


@settings_of()
class PriorConfig(LatentVariableConfig):
    """A choice of priors."""

    prior: Literal["normal", "mixture", "vamp", "realnvp", "maf", "aggregated"] = "normal"
    """Distribution of the latents."""
    prior_components: int = 32
    """Components of a mixture, or pseudo-inputs of a VampPrior."""
    prior_depth: int = 4
    """Layers of a prior that is a flow."""
    prior_width: int = 64
    """Hidden units of the networks of such a prior."""

    @property
    def prior_dim(self) -> int:
        """Latents of the prior."""
        raise NotImplementedError

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """The prior."""
        return super().parts(dataset, rngs) | {"prior": self._prior(dataset, rngs)}

    def _prior(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> Any:
        size = self.prior_dim
        if self.prior == "mixture":
            return dgm.priors.GaussianMixture(size, self.prior_components, rngs=rngs)
        if self.prior == "vamp":
            return dgm.priors.VampPrior(
                dataset.event_shape,
                self.prior_components,
                num_levels=dataset.num_levels,
                rngs=rngs,
            )
        if self.prior in ("realnvp", "maf"):
            return dgm.FlowPrior(
                size, kind=self.prior, depth=self.prior_depth, width=self.prior_width, rngs=rngs
            )
        return dgm.priors.AggregatedPosterior(dataset.train) if self.prior == "aggregated" else None


@settings_of(dgm.VAE)
class VAEConfig(PriorConfig):
    """A variational autoencoder."""

    system: tyro.conf.Suppress[str] = "vae"
    network: Literal["mlp", "gated_mlp"]
    """Encoder and decoder."""

    @property
    def prior_dim(self) -> int:
        """All latents."""
        return self.latent_dim


@settings_of(dgm.VAE)
class ImageVAEConfig(VAEConfig):
    """A variational autoencoder of images."""

    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "vae_images"


@settings_of(dgm.VLAE)
class VLAEConfig(LatentVariableConfig):
    """A variational lossy autoencoder."""

    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "vlae"


@settings_of(dgm.HierarchicalVAE)
class HierarchicalVAEConfig(PriorConfig):
    """A variational autoencoder with two layers of latents; the prior is that of the second."""

    system: tyro.conf.Suppress[str] = "hierarchical_vae"

    @property
    def prior_dim(self) -> int:
        """Those of the second layer."""
        return self.latent_dims[1]


@settings_of(dgm.IAFVAE)
class IAFVAEConfig(LatentVariableConfig):
    """A ladder of latent images with inverse autoregressive posteriors."""

    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "iaf_vae"
