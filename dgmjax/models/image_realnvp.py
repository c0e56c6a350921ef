"""RealNVP on images."""

import functools
from collections.abc import Sequence
from typing import Literal

from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.batchnorm import BatchNorm
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.conditioner import MakeConditioner, conditioner_factory
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.multi_scale import MultiScale
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.models.couplings import first_layer
from dgmjax.models.images import alternating, check_image
from dgmjax.nets.activations import Activation
from dgmjax.nets.res_net import ResNet

Normalization = Literal["actnorm", "batch", "none"]

_NORMALIZATIONS = {"actnorm": ActNorm, "batch": BatchNorm, "none": None}


@recorded
class ImageRealNVP(Flow):
    """Affine couplings of images, in the multi-scale architecture of the paper; `dgmjax.RealNVP` is for vectors.

    An image goes through ``levels`` scales: ``depth`` couplings of a checkerboard, a squeeze, ``depth`` couplings of
    channels twice as wide, and half of the result, a checkerboard of the pixels, leaves as latents; the last scale is
    ``depth + 1`` couplings of a checkerboard. The conditioners are residual networks. The latents are one vector;
    ``flow.multi_scale`` splits and joins them.

    Args:
      event_shape: ``(h, w, c)``, of which ``2^(levels - 1)`` divides both sides.
      levels: scales. The paper has 2 for CIFAR-10, with 8 blocks of width 64.
      depth: couplings of a group, at least 2.
      width: channels of the conditioners of the first scale.
      hidden_layers: residual blocks of the conditioners.
      widen: whether each next scale, and channels, have conditioners twice as wide.
      conditioner: makes your own network of every coupling: ``conditioner((h, w, in_channels), out_channels,
        context_size=k)``, see `dgmjax.RealNVP`.
      normalization: after every coupling, and if not ``"none"`` in the networks too: ``"actnorm"``, or ``"batch"``, see
        `dgmjax.BatchNorm` for what `dgmjax.fit` does with it. Inside the networks both are activation normalization, so
        the examples of a batch stay independent.
      scale_fn: bounded map of the log-scales: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
      shift_first: ``x = (z + t) s`` as in the code of the paper, instead of ``x = s z + t`` as in its text.
      activation: of the conditioners, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(k,)`` for a conditional flow ``p(x | context)``.
      reversible: gradients with activation memory that does not grow with the depth, see `dgmjax.Stack`.
      remat: gradients that store the input of each coupling and recompute its network, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the networks in mixed precision, see `dgmjax.nets.MLP`.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.Logit`.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: an event that is no image, sides that cannot be halved, or an unknown name.

    A fresh flow is its preprocessing, then squeezes and normalizations that change no value.

    Example:
      >>> import dgmjax as dgm
      >>> from flax import nnx
      >>> flow = dgm.ImageRealNVP((4, 4, 1), depth=2, width=4, hidden_layers=1, rngs=nnx.Rngs(0))
      >>> flow.multi_scale.latent_shapes
      [(2, 2, 2), (2, 2, 2)]

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.6, figure 4 (b) and the
      authors' code, which widens the networks.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        levels: int = 2,
        depth: int = 3,
        width: int = 64,
        hidden_layers: int = 4,
        widen: bool = True,
        conditioner: MakeConditioner | None = None,
        normalization: Normalization = "actnorm",
        scale_fn: ScaleFn = "tanh",
        shift_first: bool = False,
        activation: Activation = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        reversible: bool = False,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        if levels < 1 or depth < 2:
            raise ValueError(
                f"ImageRealNVP: expected levels >= 1 and depth >= 2, got {levels} and {depth}."
            )
        if normalization not in _NORMALIZATIONS:
            raise ValueError(
                f"ImageRealNVP: normalization: expected one of {list(_NORMALIZATIONS)}, got {normalization!r}."
            )
        shape = check_image("ImageRealNVP", event_shape, levels - 1)
        normalize = _NORMALIZATIONS[normalization]
        transformer = AffineTransformer(scale_fn, shift_first)

        def coupling(shape: tuple[int, ...], width: int, mask: str) -> Bijector:
            net = functools.partial(
                ResNet,
                width=width,
                depth=hidden_layers,
                activation=activation,
                dropout=dropout,
                normalization="none" if normalization == "none" else "actnorm",
                compute_dtype=compute_dtype,
                rngs=rngs,
            )
            layer = ImageCoupling(
                shape,
                mask=mask,
                make_conditioner=conditioner_factory("ImageRealNVP", conditioner, net, rngs=rngs),
                transformer=transformer,
                context_shape=context_shape,
            )
            return layer if normalize is None else Chain([layer, normalize(shape)])

        def group(
            shape: tuple[int, ...], width: int, masks: tuple[str, str], depth: int
        ) -> list[Bijector]:
            make = functools.partial(coupling, shape, width)
            return alternating(make, masks, depth, reversible=reversible, remat=remat)

        made: list[Bijector] = []
        growth = 2 if widen else 1
        for index in range(levels):
            last = index == levels - 1
            layers = group(shape, width, ("checkerboard", "checkerboard_odd"), depth + last)
            width *= growth
            if not last:
                squeeze = Squeeze(shape)
                inside = squeeze.latent_shape
                channels = group(inside, width, ("channel", "channel_swapped"), depth)
                leave = Squeeze(shape, order="checkerboard")
                layers += [squeeze, *channels, Inverse(squeeze), leave]
                shape = (inside[0], inside[1], inside[2] // 2)
            made.append(Chain(layers))
        super().__init__(Chain([*first_layer(preprocess), MultiScale(made)]), base)
