"""The variational lossy autoencoder."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from dgmjax.distributions.likelihoods import ConditionalModel
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.local_pixel_cnn import LocalPixelCNN, LocalVariant
from dgmjax.models.maf import MAF
from dgmjax.models.pixel_cnn import PixelLikelihood
from dgmjax.models.vae import VAE
from dgmjax.models.vae_networks import NetworkName
from dgmjax.nets.activations import Activation
from dgmjax.numerics.compiled import compiled


@recorded
class VLAE(VAE):
    """``p(x) = int p(z) prod_i p(x_i | x_window(i), z) dz``: a `dgmjax.VAE` whose decoder is autoregressive nearby.

    The pixels of a small window before a pixel explain the texture, so the latents hold what the window does not show:
    the code is lossy by construction. The decoder makes ``z`` an image of ``context_channels`` features, the context of
    a `dgmjax.models.LocalPixelCNN`; `receptive_field` is the size of the window. The prior is an autoregressive flow,
    a `dgmjax.MAF`: its density takes one pass, a sample ``latent_dim`` steps.

    Args:
      event_shape: ``(h, w, c)``.
      num_levels: values an element can take.
      latent_dim: number of latents.
      posterior: ``q(z | x)``: ``"gaussian"``, ``"full_covariance"``, ``"planar"``,
        ``"radial"``, ``"sylvester"``, ``"coupling"`` or ``"iaf"``, see `dgmjax.posteriors.posterior`.
      network: of encoder and decoder, see `dgmjax.VAE`.
      width: hidden units, or channels of the first convolutions.
      depth: hidden layers, or blocks.
      activation: of ``"mlp"``, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: probability of dropping a hidden unit in training, in all networks but those of the prior.
      context_channels: features of the decoder at a pixel.
      pixel_variant: ``"plain"`` or ``"gated"``.
      pixel_depth: blocks of the pixel network; the window grows with them.
      pixel_width: channels of the pixel network.
      pixel_likelihood: ``"logistic_mixture"``, or ``"categorical"``.
      num_components: logistics of a pixel.
      prior_depth: layers of the prior.
      prior_width: hidden units of the networks of the prior; two layers of 640 in the paper.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: no image, a number out of range or an unknown name.

    Source: Chen et al., 2017, *Variational lossy autoencoder*, arXiv:1611.02731, sections 3.1 and 3.2.
    """

    likelihood: ConditionalModel

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int = 256,
        *,
        latent_dim: int = 32,
        posterior: str = "gaussian",
        network: NetworkName = "mlp",
        width: int = 256,
        depth: int = 2,
        activation: Activation = "relu",
        dropout: float = 0.0,
        context_channels: int = 16,
        pixel_variant: LocalVariant = "plain",
        pixel_depth: int = 1,
        pixel_width: int = 64,
        pixel_likelihood: PixelLikelihood = "logistic_mixture",
        num_components: int = 10,
        prior_depth: int = 2,
        prior_width: int = 128,
        rngs: nnx.Rngs,
    ):
        pixels = LocalPixelCNN(
            event_shape,
            num_levels,
            context_channels=context_channels,
            variant=pixel_variant,
            depth=pixel_depth,
            width=pixel_width,
            num_components=num_components,
            likelihood=pixel_likelihood,
            dropout=dropout,
            rngs=rngs,
        )
        super().__init__(
            event_shape,
            latent_dim=latent_dim,
            likelihood=ConditionalModel(pixels),
            prior=MAF((latent_dim,), depth=prior_depth, width=prior_width, rngs=rngs),
            posterior=posterior,
            network=network,
            width=width,
            depth=depth,
            activation=activation,
            dropout=dropout,
            rngs=rngs,
        )

    @property
    def receptive_field(self) -> tuple[int, int]:
        """``(rows, columns)`` of the window of a pixel: rows above it, columns to the left and, above, to the right."""
        model: Any = self.likelihood.model
        return model.receptive_field

    @compiled
    def reconstruct(self, x: jax.Array, *, seed: jax.Array) -> jax.Array:
        """An image drawn from ``p(x | z)`` for one ``z ~ q(z | x)``: shape of ``x``, integers.

        A draw, for the mean has no closed form: it keeps what the code holds, and makes up the texture anew.
        """
        latent_key, pixel_key = jax.random.split(seed)
        z, _ = self.posterior.sample_and_log_prob(self.encode(x), seed=latent_key)
        return self.likelihood.sample(self.decode(z), seed=pixel_key)
