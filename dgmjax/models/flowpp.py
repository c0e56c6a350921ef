"""Flow++ on images."""

import functools
from collections.abc import Sequence

from flax import nnx

from dgmjax.bijectors.checkerboard import Pattern
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.checkerboard import CheckerboardHalves
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.conditioner import MakeConditioner, conditioner_factory
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.models.couplings import first_layer
from dgmjax.models.flowpp_steps import CouplingName, coupling_transformer, flowpp_steps
from dgmjax.models.images import check_image
from dgmjax.nets.gated_attention import GatedAttentionNet


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
        base: DistributionLike | None = None,
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
            flowpp_steps,
            make_net=make_net,
            transformer=coupling_transformer("FlowPP", coupling, num_components, scale_fn),
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
