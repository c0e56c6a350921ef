"""The dequantization flow of Flow++."""

import functools
from collections.abc import Sequence

import jax
from flax import nnx

from dgmjax.bijectors.checkerboard import Pattern
from dgmjax.bijectors.elementwise import SigmoidTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.distributions.flow import Flow
from dgmjax.layers.checkerboard import CheckerboardHalves
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.elementwise import Elementwise
from dgmjax.layers.encoded_context import EncodedContext
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.flowpp_steps import CouplingName, coupling_transformer, flowpp_steps
from dgmjax.models.images import check_image
from dgmjax.nets.gated_attention import GatedAttentionNet, GatedConvEncoder
from dgmjax.nets.summary import Module


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
        steps = flowpp_steps(
            inside,
            couplings,
            make_net=make_net,
            transformer=coupling_transformer(
                "FlowPPDequantizer", coupling, num_components, scale_fn
            ),
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
