"""Glow on images."""

import functools
from collections.abc import Sequence
from typing import Literal

from flax import nnx

from dgmjax.bijectors.affine import AdditiveTransformer, AffineTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.bijectors.transformer import Transformer, choose_transformer
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.bijector import Bijector, with_reach
from dgmjax.layers.combinators import Chain
from dgmjax.layers.conditional_affine import ConditionalAffine
from dgmjax.layers.conditioner import MakeConditioner, conditioner_factory
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.invertible_conv import Invertible1x1Conv, Parametrization
from dgmjax.layers.multi_scale import MultiScale
from dgmjax.layers.permute import Permute, Shuffle
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.layers.stack import Stack
from dgmjax.models.couplings import first_layer
from dgmjax.models.images import check_image
from dgmjax.nets.activations import Activation
from dgmjax.nets.conv import ZeroConv
from dgmjax.nets.conv_net import ConvNet


@recorded
class Glow(Flow):
    """``levels`` times: squeeze, ``depth`` steps of ActNorm, invertible 1x1 convolution and coupling, half goes out.

    Each level is one scan over its steps, by default reversible: compile time and activation memory are those of one
    step. The latents are one vector with all levels; ``flow.multi_scale`` splits and joins them.

    Args:
      event_shape: ``(h, w, c)``; ``2^levels`` divides both sides.
      levels: number of levels.
      depth: steps a level.
      width: channels of the conditioners; 512 in the paper.
      conditioner: makes your own network of every coupling: ``conditioner((h, w, in_channels), out_channels,
        context_size=k)``, see `dgmjax.RealNVP`.
      coupling: ``"affine"``, ``"additive"``, or any `dgmjax.bijectors.Transformer`.
      scale_fn: bounded map of the log-scales of affine couplings: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
      mixing: of the channels between couplings: ``"conv1x1"``, or one of the two it generalises, the fixed
        permutations ``"shuffle"`` and ``"reverse"`` (section 3.2 and figure 3).
      parametrization: of the 1x1 convolutions, ``"plu"`` or ``"dense"``.
      principal: begin each level with one more 1x1 convolution, which `with_data_init` sets to the principal axes of
        its channels, so that the steps start from uncorrelated ones; not in the paper.
      learned_prior: Gaussian priors with learned moments for what every level leaves and for the last one; otherwise
        standard normal.
      activation: of the conditioners, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(k,)`` for a conditional flow; it moves the conditioners and the prior of the last level.
      reversible: rebuild activations in the backward pass, see `dgmjax.Stack`.
      remat: recompute activations instead; not with ``reversible``.
      anchor_every: with ``reversible``, store the exact activations after every so many steps, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision in the conditioners.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.HistogramGaussianize` or `dgmjax.Logit`.
      base: distribution of the latents, ``(h w c,)`` events; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Couplings, inner normalizations and priors start as the identity; `with_data_init` sets all ActNorms from a batch.

    Example:
      >>> import dgmjax as dgm
      >>> from flax import nnx
      >>> glow = dgm.Glow((8, 8, 3), levels=2, depth=4, width=16, rngs=nnx.Rngs(0))
      >>> glow.event_shape, glow.base.event_shape
      ((8, 8, 3), (192,))

    Source: Kingma and Dhariwal, 2018, *Glow: Generative Flow with Invertible 1x1 Convolutions*, arXiv:1807.03039.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        levels: int = 3,
        depth: int = 32,
        width: int = 512,
        conditioner: MakeConditioner | None = None,
        coupling: Literal["affine", "additive"] | Transformer = "affine",
        scale_fn: ScaleFn = "tanh",
        mixing: Literal["conv1x1", "shuffle", "reverse"] = "conv1x1",
        parametrization: Parametrization = "plu",
        principal: bool = False,
        learned_prior: bool = True,
        activation: Activation = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        reversible: bool = True,
        remat: bool = False,
        anchor_every: int | None = None,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        if levels < 1 or depth < 1:
            raise ValueError(
                f"Glow: levels and depth must be at least 1, got {levels} and {depth}."
            )
        if mixing not in ("conv1x1", "shuffle", "reverse"):
            raise ValueError(
                f"Glow: mixing: expected 'conv1x1', 'shuffle' or 'reverse', got {mixing!r}."
            )
        shape = check_image("Glow", event_shape, levels)
        transformer = choose_transformer(
            coupling,
            {"affine": lambda: AffineTransformer(scale_fn), "additive": AdditiveTransformer},
            where="Glow",
            argument="coupling",
        )
        make_conv = functools.partial(Invertible1x1Conv, parametrization=parametrization, rngs=rngs)
        default_net = functools.partial(
            ConvNet,
            width=width,
            activation=activation,
            dropout=dropout,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        make_net = conditioner_factory("Glow", conditioner, default_net, rngs=rngs)

        def mix(shape: tuple[int, ...]) -> Bijector:
            if mixing == "conv1x1":
                return make_conv(shape)
            return Shuffle(shape, rngs=rngs) if mixing == "shuffle" else Permute.reverse(shape)

        def step(shape: tuple[int, ...]) -> Bijector:
            coupling = ImageCoupling(
                shape,
                mask="channel",
                make_conditioner=make_net,
                transformer=transformer,
                context_shape=context_shape,
            )
            # One guard a step, since it reads the whole image: what follows the first layer only multiplies by weights.
            first = with_reach(ActNorm(shape), "half")
            return Chain([first, with_reach(mix(shape), "any"), with_reach(coupling, "any")])

        made: list[Bijector] = []
        priors: list[Bijector | None] = []
        for index in range(levels):
            squeeze = Squeeze(shape)
            inside = squeeze.latent_shape
            first = [make_conv(inside, init="principal")] if principal else []
            steps = Stack(
                [step(inside) for _ in range(depth)],
                reversible=reversible,
                remat=remat,
                anchor_every=anchor_every,
            )
            last = index == levels - 1
            top = []
            if last and learned_prior:
                top = [ConditionalAffine(inside, context_shape=context_shape, rngs=rngs)]
            made.append(Chain([squeeze, *first, steps, *top]))
            if not last:
                shape = (inside[0], inside[1], inside[2] // 2)
                prior = None
                if learned_prior:
                    net = ZeroConv(shape[-1], 2 * shape[-1], rngs=rngs)
                    prior = ConditionalAffine(shape, context_shape=shape, net=net, rngs=rngs)
                priors.append(prior)
        super().__init__(Chain([*first_layer(preprocess), MultiScale(made, priors)]), base)
