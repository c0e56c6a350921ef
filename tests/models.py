"""The table of models: every system of the library, tiny. A new model adds a row here."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics import prng


class Model(NamedTuple):
    """How to make it, the levels of its data, None for floats, what it is, and whether it needs a class."""

    make: Callable[[nnx.Rngs], Any]
    num_levels: int | None = None
    kind: Literal["flow", "dequantized", "stochastic", "latent", "pixels", "other"] = "flow"
    classes: bool = False


def events(row: Model, model: Any, batch: tuple[int, ...], seed: int = 0) -> jax.Array:
    """Data of the model, float32 or int32."""
    rng, shape = np.random.RandomState(seed), (*batch, *model.event_shape)
    if row.num_levels is None:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)
    return jnp.asarray(rng.randint(0, row.num_levels, shape), jnp.int32)


def is_conditional(model: Any) -> bool:
    """Whether it is a density given a context; labels of classifiers are none."""
    given = getattr(model, "context_shape", None) is not None
    return given and not isinstance(model, dgm.models.Classifier)


def log_prob(
    model: Any,
    x: jax.Array,
    seed: jax.Array,
    context: jax.Array | None = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """Output for each event: its log-density or bound, logits, reconstructions; ``key`` drops units."""
    if isinstance(model, dgm.models.Classifier):
        return model.logits(x)
    if isinstance(model, dgm.GAN):
        return model.discriminate(model.scaled(x), key=key)
    if isinstance(model, dgm.SparseAutoencoder):
        keys = (None, None) if key is None else prng.split(key)
        return model.decode(model.encode(x, key=keys[0]), key=keys[1])
    if is_conditional(model) and context is None:
        context = jnp.linspace(0.0, 1.0, model.context_shape[0], dtype=jnp.float32)
        context = jnp.broadcast_to(
            context, (*x.shape[: x.ndim - len(model.event_shape)], *context.shape)
        )
    return dgm.objectives.log_prob(model, x, context, seed=seed, key=key)


def sample(model: Any, seed: jax.Array, num: int) -> jax.Array | None:
    """Draws of the model, or None for one that draws nothing."""
    if not hasattr(model, "sample"):
        return None
    if is_conditional(model):
        context = jnp.zeros((num, *model.context_shape), jnp.float32)
        return model.sample(seed=seed, context=context)
    return model.sample(seed=seed, sample_shape=num)


_SMALL: dict[str, Any] = {"depth": 2, "width": 4}
_FLOWPP: dict[str, Any] = {"width": 4, "depth": 1, "num_components": 2, "num_heads": 2}
# Sides that differ, the smallest that two levels and halves of columns divide.
IMAGE = (4, 8, 1)
_CLASSES: dict[str, Any] = {"context_shape": (3,)}


def _dequantized(rngs: nnx.Rngs) -> Any:
    squash = dgm.HistogramGaussianize((4,), 5)
    return dgm.Dequantized(dgm.RealNVP((4,), **_SMALL, preprocess=squash, rngs=rngs), 5)


def _variational(rngs: nnx.Rngs) -> Any:
    noise = dgm.FlowPPDequantizer(IMAGE, couplings=1, encoder_width=4, **_FLOWPP, rngs=rngs)
    flow = dgm.NICE(IMAGE, **_SMALL, preprocess=dgm.Logit(IMAGE, 5), rngs=rngs)
    return dgm.Dequantized(flow, 5, dgm.VariationalDequantization(noise, 5))


def _stochastic(rngs: nnx.Rngs) -> Any:
    net = dgm.nets.MLP(2, (2, 2), width=4, rngs=rngs)
    lost = dgm.ConditionalGaussian((2,), (2,), net)
    inner = dgm.RealNVP((2,), **_SMALL, rngs=rngs).bijector
    return dgm.StochasticFlow([dgm.ActNorm((4,)), dgm.Slice((4,), 2, lost), inner])


def _base(rngs: nnx.Rngs) -> Any:
    zeros = jnp.zeros(2, jnp.float32)
    normal = distrax.Independent(distrax.Normal(zeros, zeros + 1), 1)
    inner = dgm.Flow(dgm.ActNorm((2,)), normal)
    layer = dgm.from_distrax(distrax.Block(distrax.ScalarAffine(0.5, 2.0), 1), (2,))
    return dgm.Flow(dgm.Chain([layer, dgm.PLULinear((2,), rngs=rngs)]), inner)


def _flow(cls: Any, size: int = 3, **options: Any) -> Callable[[nnx.Rngs], Any]:
    options = _SMALL | options
    return lambda rngs: cls((size,), **options, rngs=rngs)


def _ridges(cls: Any, **options: Any) -> Callable[[nnx.Rngs], Any]:
    return lambda rngs: cls((3,), depth=2, **options, rngs=rngs)


def _glow(rngs: nnx.Rngs, **options: Any) -> Any:
    return dgm.Glow(IMAGE, levels=2, **_SMALL, **options, rngs=rngs)


def _flowpp(**options: Any) -> Callable[[nnx.Rngs], Any]:
    return lambda rngs: dgm.FlowPP(IMAGE, couplings=(1, 1, 0), **_FLOWPP, **options, rngs=rngs)


def _pixels(num_levels: int = 5, **options: Any) -> Callable[[nnx.Rngs], Any]:
    options = {"depth": 1, "width": 4, "num_components": 2} | options
    return lambda rngs: dgm.PixelCNNpp(IMAGE, num_levels, **options, rngs=rngs)


def _vae(**options: Any) -> Callable[[nnx.Rngs], Any]:
    options = {"latent_dim": 2, "width": 4, "depth": 1, "num_levels": 2} | options
    return lambda rngs: dgm.VAE((6,), **options, rngs=rngs)


def _vae_of_priors(rngs: nnx.Rngs) -> Any:
    prior = dgm.priors.VampPrior((6,), 3, num_levels=2, rngs=rngs)
    return _vae(prior=prior, posterior="full_covariance")(rngs)


MODELS: dict[str, Model] = {
    "NICE": Model(_flow(dgm.NICE, 4)),
    "RealNVP": Model(_flow(dgm.RealNVP, dropout=0.3)),
    "RealNVP, classes": Model(_flow(dgm.RealNVP, **_CLASSES), classes=True),
    "RealNVP, context, reversible": Model(
        _flow(dgm.RealNVP, 4, depth=4, reversible=True, **_CLASSES), classes=True
    ),
    "RealNVP, images": Model(
        lambda rngs: dgm.ImageRealNVP(
            IMAGE, depth=2, width=4, hidden_layers=1, dropout=0.3, rngs=rngs
        )
    ),
    "NeuralSplineFlow": Model(_flow(dgm.NeuralSplineFlow, depth=3, dropout=0.3, linear="affine")),
    "NeuralSplineFlow, one column, classes": Model(
        _flow(dgm.NeuralSplineFlow, 1, linear="affine", **_CLASSES), classes=True
    ),
    "NeuralSplineFlow, angles": Model(
        _flow(dgm.NeuralSplineFlow, linear="affine", circular=[False, True, True])
    ),
    "MAF": Model(_flow(dgm.MAF, dropout=0.3)),
    "MAF, Jacobi": Model(_flow(dgm.MAF, depth=3, sequential="jacobi", linear="lu")),
    "MAF, objects for names": Model(
        _flow(dgm.MAF, transformer=dgm.SplineTransformer(3, bound=5.0), activation=jax.nn.mish)
    ),
    "IAF": Model(_flow(dgm.IAF)),
    "IAF, classes": Model(_flow(dgm.IAF, linear="affine", **_CLASSES), classes=True),
    "PlanarFlow": Model(_ridges(dgm.PlanarFlow)),
    "PlanarFlow, context": Model(_ridges(dgm.PlanarFlow, width=4, **_CLASSES), classes=True),
    "RadialFlow": Model(_ridges(dgm.RadialFlow)),
    "ResidualFlow": Model(_flow(dgm.ResidualFlow, 2)),
    "ResidualFlow, classes": Model(_flow(dgm.ResidualFlow, 2, **_CLASSES), classes=True),
    "Glow": Model(functools.partial(_glow, dropout=0.3, **_CLASSES), classes=True),
    "FlowPP": Model(_flowpp(dropout=0.3, **_CLASSES), classes=True),
    "distrax inside, flow as base": Model(_base),
    "multivariate normal as base": Model(
        lambda _: dgm.Flow(
            dgm.ActNorm((2,)), distrax.MultivariateNormalDiag(jnp.zeros(2, jnp.float32))
        )
    ),
    "Dequantized": Model(_dequantized, 5, kind="dequantized"),
    "Dequantized, variational": Model(_variational, 5, kind="dequantized"),
    "Dequantized, classes": Model(
        lambda rngs: dgm.Dequantized(_glow(rngs, **_CLASSES), 5),
        5,
        kind="dequantized",
        classes=True,
    ),
    "StochasticFlow": Model(_stochastic, kind="stochastic"),
    "StochasticFlow, exact": Model(
        lambda _: dgm.StochasticFlow([dgm.Logit((4,), 4.0), dgm.Permute((4,), [3, 1, 0, 2])]),
        kind="stochastic",
    ),
    "VAE": Model(_vae(), 2, kind="latent"),
    "VAE, Gaussian": Model(
        _vae(likelihood="gaussian", num_levels=None, depth=2, dropout=0.3), kind="latent"
    ),
    "VAE, flow posterior": Model(
        _vae(posterior="iaf", posterior_depth=1, posterior_width=4), 2, kind="latent"
    ),
    "VAE, mixture prior": Model(
        lambda rngs: _vae(prior=dgm.priors.GaussianMixture(2, 3, rngs=rngs))(rngs), 2, kind="latent"
    ),
    "VAE, VampPrior": Model(_vae_of_priors, 2, kind="latent"),
    "VAE, convolutions": Model(
        lambda rngs: dgm.VAE(
            (8, 12, 1),
            network="residual_conv",
            latent_dim=2,
            **_SMALL,
            num_levels=2,
            dropout=0.3,
            rngs=rngs,
        ),
        2,
        kind="latent",
    ),
    "VLAE": Model(
        lambda rngs: dgm.VLAE(
            IMAGE,
            5,
            latent_dim=2,
            **_SMALL,
            prior_width=4,
            pixel_width=4,
            num_components=2,
            dropout=0.3,
            rngs=rngs,
        ),
        5,
        kind="latent",
    ),
    "HierarchicalVAE": Model(
        lambda rngs: dgm.HierarchicalVAE(
            (6,), latent_dims=(3, 2), width=4, depth=2, num_levels=2, dropout=0.3, rngs=rngs
        ),
        2,
        kind="latent",
    ),
    "IAFVAE": Model(
        lambda rngs: dgm.IAFVAE(
            IMAGE,
            5,
            resolutions=2,
            depth=2,
            width=4,
            latent_channels=2,
            iaf_depth=1,
            patch=1,
            rngs=rngs,
        ),
        5,
        kind="latent",
    ),
    "IAFVAE, Gaussian": Model(
        lambda rngs: dgm.IAFVAE(
            IMAGE, 5, resolutions=1, depth=1, width=4, latent_channels=2, iaf_depth=0, rngs=rngs
        ),
        5,
        kind="latent",
    ),
    "PixelCNNpp": Model(
        _pixels(resolutions=2, dropout=0.3, **_CLASSES), 5, kind="pixels", classes=True
    ),
    "PixelCNNpp, gated": Model(
        _pixels(4, variant="gated", likelihood="categorical", depth=2, dropout=0.3, **_CLASSES),
        4,
        kind="pixels",
        classes=True,
    ),
    "PixelCNNpp, plain": Model(
        _pixels(256, variant="plain", depth=2, **_CLASSES), 256, kind="pixels", classes=True
    ),
    "RevNet": Model(
        lambda rngs: dgm.RevNet(IMAGE, 3, filters=(4, 4, 4), units=(2, 2), rngs=rngs), kind="other"
    ),
    "PreActResNet": Model(
        lambda rngs: dgm.PreActResNet(IMAGE, 3, filters=(4, 4, 4), units=(1, 2), rngs=rngs),
        kind="other",
    ),
    "IRevNet": Model(
        lambda rngs: dgm.IRevNet(
            (4, 8, 2), 3, blocks=(2, 2), strides=(1, 2), kind="basic", rngs=rngs
        ),
        kind="other",
    ),
    "SparseAutoencoder": Model(
        lambda rngs: dgm.SparseAutoencoder((6,), 3, width=4, depth=1, dropout=0.3, rngs=rngs),
        kind="other",
    ),
    "GAN": Model(
        lambda rngs: dgm.GAN(
            (6,), latent_dim=2, generator_widths=(4,), discriminator_widths=(4,), rngs=rngs
        ),
        kind="other",
    ),
    "GAN, spectral norm": Model(
        lambda rngs: dgm.GAN(
            (4, 8, 1),
            latent_dim=2,
            network="conv",
            generator_widths=(4,),
            discriminator_widths=(4,),
            spectral_norm=True,
            rngs=rngs,
        ),
        kind="other",
    ),
}
DENSITIES = [name for name, row in MODELS.items() if row.kind != "other"]
