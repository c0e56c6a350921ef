"""One tiny model of every kind, for laws of models: events of 3 numbers, or images of 4x8 pixels."""

from collections.abc import Callable
from typing import Any

from flax import nnx

import dgmjax as dgm

IMAGE = (4, 8, 1)


def rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


def flow(cls: Any, **options: Any) -> Callable[[], Any]:
    return lambda: cls((3,), depth=2, rngs=rngs(), **options)


def glow(**options: Any) -> Any:
    return dgm.Glow(IMAGE, levels=2, depth=2, width=8, rngs=rngs(), **options)


def vae(cls: Any, **options: Any) -> Callable[[], Any]:
    return lambda: cls(IMAGE, width=8, rngs=rngs(), **options)


def variational() -> Any:
    flow = dgm.FlowPPDequantizer(
        IMAGE, couplings=1, width=8, depth=1, num_components=2, encoder_depth=1, rngs=rngs()
    )
    return dgm.Dequantized(glow(), 4, dgm.VariationalDequantization(flow, 4))


MODELS: dict[str, Callable[[], Any]] = {
    "RealNVP": flow(dgm.RealNVP, width=8),
    "RealNVP, classes": flow(dgm.RealNVP, width=8, context_shape=(3,)),
    "NICE": flow(dgm.NICE, width=8),
    "MAF": flow(dgm.MAF, width=8),
    "IAF": flow(dgm.IAF, width=8),
    "IAF, classes": flow(dgm.IAF, width=8, context_shape=(3,)),
    "spline flow": flow(dgm.NeuralSplineFlow, width=8),
    "planar flow": flow(dgm.PlanarFlow),
    "planar flow, classes": flow(dgm.PlanarFlow, context_shape=(3,)),
    "radial flow": flow(dgm.RadialFlow),
    "residual flow": flow(dgm.ResidualFlow, width=8),
    "RealNVP, images": lambda: dgm.RealNVP(IMAGE, depth=2, width=8, rngs=rngs()),
    "Glow": glow,
    "Flow++": lambda: dgm.FlowPP(
        IMAGE, couplings=(1, 1, 1), width=8, depth=1, num_components=2, rngs=rngs()
    ),
    "Glow, dequantized, classes": lambda: dgm.Dequantized(glow(context_shape=(3,)), 4),
    "Glow, variational dequantization": variational,
    "PixelCNN++": lambda: dgm.PixelCNNpp(
        IMAGE, 256, levels=2, depth=1, width=8, num_components=2, rngs=rngs()
    ),
    "gated PixelCNN, classes": lambda: dgm.PixelCNNpp(
        IMAGE, 4, variant="gated", likelihood="categorical", depth=1, width=8, context_shape=(3,),
        rngs=rngs(),
    ),
    "VAE": vae(dgm.VAE, latent_dim=2, likelihood="bernoulli"),
    "hierarchical VAE": vae(dgm.HierarchicalVAE),
    "IAF-VAE": vae(dgm.IAFVAE, num_levels=4, depth=1),
    "VLAE": vae(dgm.VLAE, num_levels=4, latent_dim=2),
    "stochastic flow": lambda: dgm.StochasticFlow(
        [dgm.Logit((4,), 4.0), dgm.Permute((4,), [3, 1, 0, 2])]
    ),
}  # fmt: skip
