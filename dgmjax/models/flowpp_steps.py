"""What Flow++ and its dequantization flow share: the couplings of halves of images."""

from collections.abc import Callable, Sequence
from typing import Literal

from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.mixture_cdf import MixtureCDFTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.bijectors.transformer import Transformer, choose_transformer
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.halves_conv import HalvesConv
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.reshape import Reshape
from dgmjax.layers.stack import Stack

CouplingName = Literal["mixture", "affine"] | Transformer


def coupling_transformer(
    name: str, coupling: CouplingName, num_components: int, scale_fn: ScaleFn
) -> Transformer:
    """The transformer of a coupling, by its name or itself; ``name`` is the model's, for messages."""
    named: dict[str, Callable[[], Transformer]] = {
        "mixture": lambda: MixtureCDFTransformer(num_components, scale_fn),
        "affine": lambda: AffineTransformer(scale_fn),
    }
    return choose_transformer(coupling, named, where=name, argument="coupling")


def flowpp_steps(
    shape: tuple[int, ...],
    num: int,
    *,
    make_net: Callable[..., nnx.Module],
    transformer: Transformer,
    context_shape: Sequence[int] | None,
    reversible: bool,
    remat: bool,
    rngs: nnx.Rngs,
) -> Stack:
    """``num`` times, on halves that are channels: normalize every element, mix each half, couple, exchange."""

    def step() -> Bijector:
        flat = Reshape(shape)
        return Chain(
            [
                flat,
                ActNorm(flat.latent_shape),
                Inverse(flat),
                HalvesConv(shape, rngs=rngs),
                ImageCoupling(
                    shape,
                    mask="channel",
                    make_conditioner=make_net,
                    transformer=transformer,
                    swap=True,
                    context_shape=context_shape,
                ),
            ]
        )

    return Stack([step() for _ in range(num)], reversible=reversible, remat=remat)
