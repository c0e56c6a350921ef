"""Flow++ on images, and its dequantization flow."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.checkerboard import Pattern
from dgmjax.bijectors.elementwise import SigmoidTransformer
from dgmjax.bijectors.mixture_cdf import MixtureCDFTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.bijectors.transformer import Transformer, choose_transformer
from dgmjax.distributions.flow import Flow
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.checkerboard import CheckerboardHalves
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.conditioner import MakeConditioner, conditioner_factory
from dgmjax.layers.elementwise import Elementwise
from dgmjax.layers.encoded_context import EncodedContext
from dgmjax.layers.halves_conv import HalvesConv
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.reshape import Reshape
from dgmjax.layers.serialization import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.layers.stack import Stack
from dgmjax.models.couplings import first_layer
from dgmjax.models.images import check_image
from dgmjax.nets.gated_attention import GatedAttentionNet, GatedConvEncoder
from dgmjax.nets.summary import Module

CouplingName = Literal["mixture", "affine"] | Transformer


@recorded
class FlowPP(Flow):
    """Couplings by the CDFs of logistic mixtures, whose networks are gated convolutions with self-attention.

    ``couplings[0]`` couplings of the halves of a checkerboard, a squeeze, ``couplings[1]`` of those of the channels
    and ``couplings[2]`` of a checkerboard again; nothing is factored out. Before every coupling come an ActNorm of each
    element and a 1x1 convolution of each half, after it the halves change places. Each group is one scan.

    A mixture coupling is closed form from data to latent; sampling solves for a root at every element.

    Args:
      event_shape: ``(h, w, c)``. A checkerboard needs an even width, a squeeze even sides, and a checkerboard after a
        squeeze a width divisible by 4.
      couplings: number of couplings of the three groups; 0 leaves a group out, and the squeeze if none follows it.
      width: channels of the conditioners.
      depth: blocks of a conditioner.
      conditioner: makes your own network of every coupling: ``conditioner((h, w, in_channels), out_channels,
        context_size=k)``, see `dgmjax.RealNVP`.
      num_components: logistics of a mixture.
      coupling: ``"mixture"``, ``"affine"``, or any `dgmjax.bijectors.Transformer`.
      scale_fn: bounded map of the (outer) log-scales: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
      attention: whether blocks have self-attention; ``False`` is the paper's ablation, see
        `dgmjax.nets.GatedAttentionNet`.
      num_heads: heads of the attention; divides ``width``.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      pattern: the halves of an image: squares of a ``"checkerboard"``, or ``"columns"`` as in the authors' code.
      context_shape: ``(k,)`` for a conditional flow.
      reversible: rebuild activations in the backward pass, see `dgmjax.Stack`; with mixture couplings by a root search,
        which costs little beside the networks.
      remat: recompute the activations of each coupling instead; not with ``reversible``.
      remat_blocks: recompute the activations of each block of a network.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision in the conditioners.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.Logit` or `dgmjax.HistogramGaussianize`.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    The defaults are the model of the paper for CIFAR-10. The networks start at zero, where a
    mixture coupling is within 0.2 of the identity; `with_data_init` sets the ActNorms from a batch.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, and the authors' code.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        couplings: Sequence[int] = (4, 2, 3),
        width: int = 96,
        depth: int = 10,
        conditioner: MakeConditioner | None = None,
        num_components: int = 32,
        coupling: CouplingName = "mixture",
        scale_fn: ScaleFn = "tanh",
        attention: bool = True,
        num_heads: int = 4,
        dropout: float = 0.2,
        pattern: Pattern = "checkerboard",
        context_shape: Sequence[int] | None = None,
        reversible: bool = True,
        remat: bool = False,
        remat_blocks: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: Any = None,
        rngs: nnx.Rngs,
    ):
        counts = tuple(couplings)
        if len(counts) != 3 or min(counts) < 0 or sum(counts) < 1:
            raise ValueError(
                f"FlowPP: couplings: expected three numbers (checkerboard, channels, checkerboard), not all 0, got "
                f"{counts}."
            )
        if context_shape is not None and len(context_shape) != 1:
            raise ValueError(
                f"FlowPP: expected context_shape (k,), got {tuple(context_shape)}; encode images to vectors."
            )
        shape = check_image("FlowPP", event_shape, 1 if sum(counts[1:]) else 0)
        net = functools.partial(
            GatedAttentionNet,
            width=width,
            depth=depth,
            attention=attention,
            num_heads=num_heads,
            dropout=dropout,
            remat=remat_blocks,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        make_net = conditioner_factory("FlowPP", conditioner, net, rngs=rngs)
        make = functools.partial(
            _steps,
            make_net=make_net,
            transformer=_transformer("FlowPP", coupling, num_components, scale_fn),
            context_shape=context_shape,
            reversible=reversible,
            remat=remat,
            rngs=rngs,
        )

        def of_halves(shape: Sequence[int], num: int) -> list[Bijector]:
            halves = CheckerboardHalves(shape, pattern=pattern)
            return [halves, make(halves.latent_shape, num), Inverse(halves)]

        layers: list[Bijector] = first_layer(preprocess)
        if counts[0]:
            layers += of_halves(shape, counts[0])
        if sum(counts[1:]):
            squeeze = Squeeze(shape, order="outer")
            layers.append(squeeze)
            if counts[1]:
                layers.append(make(squeeze.latent_shape, counts[1]))
            if counts[2]:
                layers += of_halves(squeeze.latent_shape, counts[2])
        super().__init__(Chain(layers), base)


@recorded
class FlowPPDequantizer(Flow):
    """The dequantization flow of Flow++: a density of ``u`` in ``(0, 1)^D`` given an image.

    ``u = sigmoid(f(eps, g(context)))`` with ``eps ~ N(0, I)``: ``f`` are couplings of the halves of a checkerboard as
    in `FlowPP`, in the direction in which a mixture is closed form, so `sample_and_log_prob` costs no root search (and
    `log_prob` of a given ``u`` does); ``g`` is a convolutional network, evaluated once an image. The context is the
    image of integers scaled to ``(-1/2, 1/2)``, as `dgmjax.VariationalDequantization` gives it. In float32 a ``u`` may
    round to 0 or 1.

    Args:
      event_shape: ``(h, w, c)`` with an even ``w``.
      couplings: number of couplings.
      width: channels of the conditioners.
      depth: blocks of a conditioner.
      num_components: logistics of a mixture.
      coupling: ``"mixture"``, ``"affine"``, or any `dgmjax.bijectors.Transformer`.
      scale_fn: bounded map of the (outer) log-scales: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
      attention: whether blocks have self-attention.
      num_heads: heads of the attention; divides ``width``.
      dropout: in the conditioners, active when a key is given to `sample_and_log_prob`.
      encoder_width: channels of the network ``g`` of the image.
      encoder_depth: gated convolutions of the network ``g`` of the image.
      pattern: the halves of an image, see `FlowPP`.
      reversible: rebuild activations in the backward pass, with a root search that samples do not need.
      remat: recompute the activations of each coupling instead; not with ``reversible``.
      remat_blocks: recompute the activations of each block of a network.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision in the conditioners.
      rngs: ``nnx.Rngs`` for the initial weights.

    The defaults are those of the paper, whose ``g`` has dropout too. It starts near the sigmoid of normal noise.

    Source: Ho et al., 2019, *Flow++*, arXiv:1902.00275, section 3.1 and the authors' code.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        couplings: int = 4,
        width: int = 96,
        depth: int = 2,
        num_components: int = 32,
        coupling: CouplingName = "mixture",
        scale_fn: ScaleFn = "tanh",
        attention: bool = True,
        num_heads: int = 4,
        dropout: float = 0.2,
        encoder_width: int = 32,
        encoder_depth: int = 3,
        pattern: Pattern = "checkerboard",
        reversible: bool = False,
        remat: bool = False,
        remat_blocks: bool = False,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if couplings < 1:
            raise ValueError(f"FlowPPDequantizer: couplings must be at least 1, got {couplings}.")
        shape = check_image("FlowPPDequantizer", event_shape, 0)
        halves = CheckerboardHalves(shape, pattern=pattern)
        inside = halves.latent_shape
        make_net = functools.partial(
            GatedAttentionNet,
            width=width,
            depth=depth,
            pixel_context=True,
            attention=attention,
            num_heads=num_heads,
            dropout=dropout,
            remat=remat_blocks,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        steps = _steps(
            inside,
            couplings,
            make_net=make_net,
            transformer=_transformer("FlowPPDequantizer", coupling, num_components, scale_fn),
            context_shape=(*inside[:2], encoder_width),
            reversible=reversible,
            remat=remat,
            rngs=rngs,
        )
        net = GatedConvEncoder(inside[-1], width=encoder_width, depth=encoder_depth, rngs=rngs)
        encoder = _EncoderOfHalves(halves, net)
        layer = EncodedContext(Chain([halves, steps, Inverse(halves)]), encoder, shape)
        super().__init__(Chain([Elementwise(SigmoidTransformer(), shape), Inverse(layer)]))


class _EncoderOfHalves(Module):
    """``net(halves of an image)``."""

    def __init__(self, halves: CheckerboardHalves, net: GatedConvEncoder):
        self.halves = halves
        self.net = net

    def __call__(self, image: jax.Array) -> jax.Array:
        return self.net(self.halves.inverse(image))


def _transformer(
    name: str, coupling: CouplingName, num_components: int, scale_fn: ScaleFn
) -> Transformer:
    named: dict[str, Callable[[], Transformer]] = {
        "mixture": lambda: MixtureCDFTransformer(num_components, scale_fn),
        "affine": lambda: AffineTransformer(scale_fn),
    }
    return choose_transformer(coupling, named, where=name, argument="coupling")


def _steps(
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
