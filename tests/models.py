"""The table of models: every system of the library, tiny. A new model adds a row here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm


class Model(NamedTuple):
    """How to make it, and the levels of its data: None for floats. Labels are the context of conditional ones."""

    make: Callable[[nnx.Rngs], Any]
    num_levels: int | None = None


def events(row: Model, model: Any, batch: tuple[int, ...], seed: int = 0) -> jax.Array:
    """Data of the model, float32 or int32."""
    random, shape = np.random.RandomState(seed), (*batch, *model.event_shape)
    if row.num_levels is None:
        return jnp.asarray(random.normal(size=shape), jnp.float32)
    return jnp.asarray(random.randint(0, row.num_levels, shape), jnp.int32)


def log_prob(model: Any, x: jax.Array, seed: jax.Array) -> jax.Array:
    """What the model says of each event: its log-density or bound, logits, reconstructions."""
    context = None
    if isinstance(model, dgm.models.Classifier):
        return model.logits(x)
    if isinstance(model, dgm.GAN):
        return model.discriminate(model.scaled(x))
    if isinstance(model, dgm.SparseAutoencoder):
        return model.reconstruct(x)
    if getattr(model, "context_shape", None) is not None:
        context = jnp.linspace(0.0, 1.0, model.context_shape[0], dtype=jnp.float32)
        context = jnp.broadcast_to(
            context, (*x.shape[: x.ndim - len(model.event_shape)], *context.shape)
        )
    return dgm.objectives.log_prob(model, x, context, seed=seed)


def sample(model: Any, seed: jax.Array, num: int) -> jax.Array | None:
    """Draws of the model, or None for one that draws nothing."""
    if not hasattr(model, "sample"):
        return None
    if getattr(model, "context_shape", None) is not None:
        context = jnp.zeros((num, *model.context_shape), jnp.float32)
        return model.sample(seed=seed, context=context)
    return model.sample(seed=seed, sample_shape=num)


def _dequantized(rngs: nnx.Rngs) -> Any:
    squash = dgm.HistogramGaussianize((4,), 5)
    return dgm.Dequantized(dgm.RealNVP((4,), **_SMALL, preprocess=squash, rngs=rngs), 5)


def _variational(rngs: nnx.Rngs) -> Any:
    noise = dgm.FlowPPDequantizer((4, 4, 1), couplings=1, encoder_width=4, **_FLOWPP, rngs=rngs)
    flow = dgm.RealNVP(
        (4, 4, 1), depth=2, width=4, hidden_layers=1, preprocess=dgm.Logit((4, 4, 1), 5), rngs=rngs
    )
    return dgm.Dequantized(flow, 5, dgm.VariationalDequantization(noise, 5))


def _stochastic(rngs: nnx.Rngs) -> Any:
    net = dgm.nets.MLP(2, (2, 2), width=4, rngs=rngs)
    lost = dgm.ConditionalGaussian((2,), (2,), net)
    inner = dgm.RealNVP((2,), **_SMALL, rngs=rngs).bijector
    return dgm.StochasticFlow([dgm.ActNorm((4,)), dgm.Slice((4,), 2, lost), inner])


_SMALL: dict[str, Any] = {"depth": 2, "width": 4}
_FLOWPP: dict[str, Any] = {"width": 4, "depth": 1, "num_components": 2, "num_heads": 2}
_IMAGE = (4, 4, 1)


def _base(rngs: nnx.Rngs) -> Any:
    zeros = jnp.zeros(2, jnp.float32)
    normal = distrax.Independent(distrax.Normal(zeros, zeros + 1), 1)
    inner = dgm.Flow(dgm.ActNorm((2,)), normal)
    layer = dgm.from_distrax(distrax.Block(distrax.ScalarAffine(0.5, 2.0), 1), (2,))
    return dgm.Flow(dgm.Chain([layer, dgm.PLULinear((2,), rngs=rngs)]), inner)


def _vae(**options: Any) -> Callable[[nnx.Rngs], Any]:
    options = {"latent_dim": 2, "width": 4, "depth": 1, "num_levels": 2} | options
    return lambda rngs: dgm.VAE((6,), **options, rngs=rngs)


def _vae_of_priors(rngs: nnx.Rngs) -> Any:
    prior = dgm.priors.VampPrior((6,), 3, num_levels=2, rngs=rngs)
    return _vae(prior=prior, posterior="full_covariance")(rngs)


MODELS: dict[str, Model] = {
    "NICE": Model(lambda rngs: dgm.NICE((4,), **_SMALL, rngs=rngs)),
    "RealNVP": Model(lambda rngs: dgm.RealNVP((4,), dropout=0.1, **_SMALL, rngs=rngs)),
    "RealNVP, context, reversible": Model(
        lambda rngs: dgm.RealNVP(
            (4,), context_shape=(3,), reversible=True, depth=4, width=4, rngs=rngs
        )
    ),
    "RealNVP, images": Model(
        lambda rngs: dgm.RealNVP(
            _IMAGE, depth=2, width=4, hidden_layers=1, reversible=True, rngs=rngs
        )
    ),
    "NeuralSplineFlow": Model(lambda rngs: dgm.NeuralSplineFlow((3,), **_SMALL, rngs=rngs)),
    "MAF": Model(lambda rngs: dgm.MAF((3,), **_SMALL, rngs=rngs)),
    "MAF, Jacobi": Model(lambda rngs: dgm.MAF((3,), sequential="jacobi", **_SMALL, rngs=rngs)),
    "IAF": Model(lambda rngs: dgm.IAF((3,), **_SMALL, rngs=rngs)),
    "PlanarFlow": Model(lambda rngs: dgm.PlanarFlow((3,), depth=2, rngs=rngs)),
    "PlanarFlow, context": Model(
        lambda rngs: dgm.PlanarFlow((3,), depth=2, context_shape=(2,), width=4, rngs=rngs)
    ),
    "RadialFlow": Model(lambda rngs: dgm.RadialFlow((3,), depth=2, rngs=rngs)),
    "ResidualFlow": Model(lambda rngs: dgm.ResidualFlow((2,), **_SMALL, rngs=rngs)),
    "Glow": Model(
        lambda rngs: dgm.Glow((4, 4, 2), levels=2, **_SMALL, context_shape=(3,), rngs=rngs)
    ),
    "FlowPP": Model(lambda rngs: dgm.FlowPP((4, 4, 1), couplings=(1, 1, 1), **_FLOWPP, rngs=rngs)),
    "distrax inside, flow as base": Model(_base),
    "multivariate normal as base": Model(
        lambda _: dgm.Flow(
            dgm.ActNorm((2,)), distrax.MultivariateNormalDiag(jnp.zeros(2, jnp.float32))
        )
    ),
    "Dequantized": Model(_dequantized, 5),
    "Dequantized, variational": Model(_variational, 5),
    "StochasticFlow": Model(_stochastic),
    "VAE": Model(_vae(), 2),
    "VAE, Gaussian": Model(_vae(likelihood="gaussian", num_levels=None, dropout=0.1)),
    "VAE, flow posterior": Model(_vae(posterior="iaf", posterior_depth=1, posterior_width=4), 2),
    "VAE, mixture prior": Model(
        lambda rngs: _vae(prior=dgm.priors.GaussianMixture(2, 3, rngs=rngs))(rngs), 2
    ),
    "VAE, VampPrior": Model(_vae_of_priors, 2),
    "VAE, convolutions": Model(
        lambda rngs: dgm.VAE(
            (8, 8, 1), network="residual_conv", latent_dim=2, **_SMALL, num_levels=2, rngs=rngs
        ),
        2,
    ),
    "VLAE": Model(
        lambda rngs: dgm.VLAE(
            _IMAGE,
            5,
            latent_dim=2,
            **_SMALL,
            prior_width=4,
            pixel_width=4,
            num_components=2,
            rngs=rngs,
        ),
        5,
    ),
    "HierarchicalVAE": Model(
        lambda rngs: dgm.HierarchicalVAE(
            (6,), latent_dims=(3, 2), width=4, depth=1, num_levels=2, rngs=rngs
        ),
        2,
    ),
    "IAFVAE": Model(
        lambda rngs: dgm.IAFVAE(
            (8, 8, 1), 5, levels=1, depth=1, width=4, latent_channels=2, iaf_depth=1, rngs=rngs
        ),
        5,
    ),
    "PixelCNNpp": Model(
        lambda rngs: dgm.PixelCNNpp(
            _IMAGE, 5, levels=2, depth=1, width=4, num_components=2, context_shape=(3,), rngs=rngs
        ),
        5,
    ),
    "RevNet": Model(lambda rngs: dgm.RevNet(_IMAGE, 3, filters=(4, 4, 4), units=(2, 2), rngs=rngs)),
    "PreActResNet": Model(
        lambda rngs: dgm.PreActResNet(_IMAGE, 3, filters=(4, 4, 4), units=(1, 2), rngs=rngs)
    ),
    "IRevNet": Model(
        lambda rngs: dgm.IRevNet(
            (4, 4, 2), 3, blocks=(2, 2), strides=(1, 2), kind="basic", rngs=rngs
        )
    ),
    "SparseAutoencoder": Model(
        lambda rngs: dgm.SparseAutoencoder((6,), 3, width=4, depth=1, rngs=rngs)
    ),
    "GAN": Model(
        lambda rngs: dgm.GAN(
            (6,), latent_dim=2, generator_widths=(4,), discriminator_widths=(4,), rngs=rngs
        )
    ),
    "GAN, spectral norm": Model(
        lambda rngs: dgm.GAN(
            (8, 8, 1),
            latent_dim=2,
            network="conv",
            generator_widths=(4,),
            discriminator_widths=(4,),
            spectral_norm=True,
            rngs=rngs,
        )  # fmt: skip
    ),
}
