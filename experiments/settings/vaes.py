"""Typed settings of variational autoencoders."""

import dataclasses
from typing import Any, ClassVar, Literal

import tyro
from flax import nnx

import dgmjax as dgm
from experiments.settings.unlabelled import UnlabelledConfig

PriorName = Literal["normal", "mixture", "vamp", "realnvp", "maf", "aggregated"]
PosteriorName = Literal[
    "gaussian", "full_covariance", "planar", "radial", "sylvester", "coupling", "iaf"
]
LikelihoodName = Literal[
    "bernoulli", "gaussian", "categorical", "discretized_logistic", "discretized_logistic_mixture"
]
_OF_THE_LOSS = ("beta", "warmup_steps", "free_bits")
_OF_THE_PRIOR = ("prior_components", "prior_depth", "prior_width")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentVariableConfig(UnlabelledConfig):
    """What models with latent variables share."""

    depth: int = 2
    """Hidden layers, or blocks, of the networks."""
    width: int = 256
    """Hidden units, or channels of the first convolutions."""
    beta: float = 1.0
    """Factor on the divergence in training."""
    warmup_steps: int = 0
    """Steps over which the factor rises from 0."""
    free_bits: float = 0.0
    """Nats a group of latents that cost nothing in training."""

    def make(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> Any:
        """The model for ``dataset``."""
        options = self.parts(dataset, rngs) | {"num_levels": dataset.num_levels}
        return self.constructor(dataset.event_shape, **options, rngs=rngs)

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """Arguments of the constructor."""
        del rngs
        return self.options(dataset, conditional=False)

    def loss(self) -> dgm.objectives.NegativeELBO:
        """The training loss."""
        return dgm.objectives.NegativeELBO(self.beta, self.warmup_steps, self.free_bits)

    def options(self, dataset: dgm.data.Dataset, *, conditional: bool) -> dict[str, Any]:
        """The fields that are arguments of the constructor, by name."""
        found = super().options(dataset, conditional=conditional)
        return {name: value for name, value in found.items() if name not in _OF_THE_LOSS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(LatentVariableConfig):
    """What autoencoders with one vector of latents share."""

    latent_dim: int = 16
    """Latents."""
    num_components: int = 10
    """Logistics of a pixel, where it is a mixture."""
    activation: str = "relu"
    """Activation of the MLPs."""
    dropout: float = 0.0
    """Dropout, in training."""
    posterior: PosteriorName = "gaussian"
    """Distribution of the latents given the data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorConfig(LatentVariableConfig):
    """A choice of priors."""

    prior: PriorName = "normal"
    """Distribution of the latents."""
    prior_components: int = 32
    """Of a mixture, or pseudo-inputs of a VampPrior."""
    prior_depth: int = 4
    """Layers of a prior that is a flow."""
    prior_width: int = 64
    """Hidden units of their networks."""

    @property
    def prior_dim(self) -> int:
        """Latents of the prior."""
        raise NotImplementedError

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """Arguments of the constructor, with the prior instead of what describes it."""
        found = super().parts(dataset, rngs) | {"prior": self._prior(dataset, rngs)}
        return {name: value for name, value in found.items() if name not in _OF_THE_PRIOR}

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAEConfig(EncoderConfig, PriorConfig):
    """A variational autoencoder."""

    constructor: ClassVar[Any] = dgm.VAE
    system: tyro.conf.Suppress[str] = "vae"
    likelihood: LikelihoodName = "discretized_logistic_mixture"
    """Distribution of a pixel given the latents."""
    network: Literal["mlp", "gated_mlp"] = "mlp"
    """Encoder and decoder."""
    posterior_depth: int = 4
    """Layers of a posterior that is a flow."""
    posterior_width: int = 64
    """Hidden units of their networks."""
    context_size: int = 64
    """Numbers that the encoder gives to them."""

    @property
    def prior_dim(self) -> int:
        """All latents."""
        return self.latent_dim


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageVAEConfig(VAEConfig):
    """A variational autoencoder with convolutional networks."""

    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "vae_images"
    network: Literal["gated_conv", "residual_conv"] = "gated_conv"  # type: ignore[assignment]
    """Encoder and decoder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VLAEConfig(EncoderConfig):
    """A variational lossy autoencoder."""

    constructor: ClassVar[Any] = dgm.VLAE
    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "vlae"
    network: Literal["mlp", "gated_mlp", "gated_conv", "residual_conv"] = "mlp"
    """Encoder and decoder."""
    context_channels: int = 16
    """Features that the decoder gives to every pixel."""
    pixel_depth: int = 1
    """Blocks of the pixel network, whose window grows with them."""
    pixel_width: int = 32
    """Its channels."""
    prior_depth: int = 2
    """Layers of the autoregressive prior."""
    prior_width: int = 64
    """Hidden units of their networks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchicalVAEConfig(PriorConfig):
    """A variational autoencoder with two layers of latents; the prior is that of the second."""

    constructor: ClassVar[Any] = dgm.HierarchicalVAE
    system: tyro.conf.Suppress[str] = "hierarchical_vae"
    likelihood: LikelihoodName = "discretized_logistic_mixture"
    """Distribution of a pixel given the latents."""
    latent_dims: tuple[int, int] = (8, 8)
    """Latents of the two layers."""
    dropout: float = 0.0
    """Dropout, in training."""

    @property
    def prior_dim(self) -> int:
        """Those of the second layer."""
        return self.latent_dims[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class IAFVAEConfig(LatentVariableConfig):
    """A ladder of latent images with inverse autoregressive posteriors."""

    constructor: ClassVar[Any] = dgm.IAFVAE
    images: ClassVar[bool] = True
    system: tyro.conf.Suppress[str] = "iaf_vae"
    likelihood: Literal["discretized_logistic", "discretized_logistic_mixture"] = (
        "discretized_logistic"
    )
    """Distribution of a pixel given the latents."""
    width: int = 64
    """Channels of the features."""
    resolutions: int = 2
    """Number of resolutions."""
    latent_channels: int = 8
    """Channels of the latents of a layer."""
    iaf_depth: int = 2
    """Hidden layers of the masked networks; 0 for Gaussian posteriors."""
    patch: int = 2
    """Side of the blocks of pixels that are one pixel of the finest latents."""
