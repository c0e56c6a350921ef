"""RealNVP on vectors and on images."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.coupling import Transformer
from dgmjax.distributions.flow import Flow
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.batchnorm import BatchNorm
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.conditioner import MakeConditioner, conditioner_factory
from dgmjax.layers.image_coupling import ImageCoupling
from dgmjax.layers.multi_scale import MultiScale
from dgmjax.layers.serialization import recorded
from dgmjax.layers.squeeze import Squeeze
from dgmjax.models.couplings import alternating_couplings, first_layer
from dgmjax.models.images import alternating, check_image
from dgmjax.nets.res_net import ResNet

Normalization = Literal["actnorm", "batch", "none"]

_NORMALIZATIONS = {"actnorm": ActNorm, "batch": BatchNorm, "none": None}


@recorded
class RealNVP(Flow):
    """Affine couplings whose masks alternate; on images in the multi-scale architecture of the paper.

    A vector ``(d,)`` goes through ``depth`` couplings with MLPs. An image ``(h, w, c)`` goes through ``levels`` scales:
    ``depth`` couplings of a checkerboard, a squeeze, ``depth`` couplings of channels twice as wide, and half of the
    result, a checkerboard of the pixels, leaves as latents; the last scale is ``depth + 1`` couplings of a
    checkerboard. The conditioners are residual networks. The latents are one vector; ``flow.multi_scale`` splits and
    joins them.

    Args:
      event_shape: ``(d,)``, ``d >= 2``, or ``(h, w, c)``, of which ``2^(levels - 1)`` divides both sides.
      depth: number of couplings, at least 2 (with fewer some elements are never transformed); default 8. On images
        those of a group, default 3.
      width: hidden units, or channels, of the conditioners of the first scale; each next scale has twice as many.
      hidden_layers: hidden layers of the conditioners, default 2. On images their residual blocks, default 4.
      conditioner: makes your own network of every coupling, called as ``conditioner(in_size, out_shape,
        context_size=k)``, on images as ``conditioner((h, w, in_channels), out_channels, context_size=k)``, and with
        ``rngs=`` if it has such a parameter. What it returns is called as ``net(kept, context, key=None)``, see
        `dgmjax.Coupling` and `dgmjax.ImageCoupling`; e.g. ``functools.partial(dgmjax.nets.MLP, width=32)``. It decides
        on ``width``, ``hidden_layers``, ``activation``, ``dropout`` and ``compute_dtype``, so these are not used.
        `dgmjax.save` can write classes of `dgmjax.nets`, classes decorated with `dgmjax.recorded`, and
        ``functools.partial`` of either with keyword arguments.
      levels: scales; only on images, default 2. The paper has 2 for CIFAR-10, with 8 blocks of width 64.
      widen: whether to double the width; only on images, default True.
      normalization: after every coupling of images, and if not ``"none"`` in their networks too: ``"actnorm"``, the
        default, or ``"batch"``, see `dgmjax.BatchNorm` for what `dgmjax.fit` does with it. Inside the networks both
        are activation normalization, so the examples of a batch stay independent.
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans; ``True`` passes through the first coupling unchanged. Only
        on vectors, default ``"alternating"``.
      scale_fn: bounded map of the log-scales: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``, ``"softplus"`` or
        ``"exp"``, see `dgmjax.bijectors.scale_fn`.
      shift_first: ``x = (z + t) s`` as in the code of the paper, instead of ``x = s z + t`` as in its text.
      activation: of the conditioners, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(k,)`` for a conditional flow ``p(x | context)``.
      reversible: gradients with activation memory that does not grow with the depth, see `dgmjax.Stack`.
      remat: gradients that store the input of each coupling and recompute its network, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the networks in mixed precision, see `dgmjax.nets.MLP`.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.layers.Standardize` or `dgmjax.layers.Logit`.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: shapes that do not fit, or an option of images for vectors or the other way round.

    A fresh flow is its preprocessing followed by the identity.

    Example:
      >>> import jax, dgmjax as dgm
      >>> from flax import nnx
      >>> flow = dgm.RealNVP((3,), depth=2, width=8, context_shape=(1,), rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (5, 3))
      >>> flow.log_prob(x, x[:, :1]).shape  # conditional on one number
      (5,)

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int | None = None,
        width: int = 64,
        hidden_layers: int | None = None,
        conditioner: MakeConditioner | None = None,
        levels: int | None = None,
        widen: bool | None = None,
        normalization: Normalization | None = None,
        mask: str | np.ndarray | Sequence[bool] | None = None,
        scale_fn: str = "tanh",
        shift_first: bool = False,
        activation: str = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        reversible: bool = False,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: Any = None,
        rngs: nnx.Rngs,
    ):
        shared: dict[str, Any] = {
            "width": width,
            "conditioner": conditioner,
            "context_shape": context_shape,
            "reversible": reversible,
            "remat": remat,
            "activation": activation,
            "dropout": dropout,
            "compute_dtype": compute_dtype,
            "rngs": rngs,
        }
        transformer = AffineTransformer(scale_fn, shift_first)
        if len(tuple(event_shape)) == 3:
            _only("mask", mask, "vectors")
            layers: list[Bijector] = [
                _multi_scale(
                    event_shape,
                    transformer,
                    levels=2 if levels is None else levels,
                    depth=3 if depth is None else depth,
                    blocks=4 if hidden_layers is None else hidden_layers,
                    widen=True if widen is None else widen,
                    normalization="actnorm" if normalization is None else normalization,
                    **shared,
                )
            ]
        else:
            for name, value in {
                "levels": levels,
                "widen": widen,
                "normalization": normalization,
            }.items():
                _only(name, value, "images (h, w, c)")
            layers = alternating_couplings(
                "RealNVP",
                event_shape,
                transformer,
                depth=8 if depth is None else depth,
                hidden_layers=2 if hidden_layers is None else hidden_layers,
                mask="alternating" if mask is None else mask,
                **shared,
            )
        super().__init__(Chain([*first_layer(preprocess), *layers]), base)


def _only(name: str, value: Any, events: str) -> None:
    if value is not None:
        raise ValueError(f"RealNVP: {name} is an option for {events} only, got {value!r}.")


def _multi_scale(
    event_shape: Sequence[int],
    transformer: Transformer,
    *,
    levels: int,
    depth: int,
    width: int,
    blocks: int,
    conditioner: MakeConditioner | None,
    widen: bool,
    normalization: Normalization,
    context_shape: Sequence[int] | None,
    reversible: bool,
    remat: bool,
    rngs: nnx.Rngs,
    **options: Any,
) -> MultiScale:
    """The architecture of section 3.6, figure 4 (b) and the authors' code, which widens the networks."""
    if levels < 1 or depth < 2:
        raise ValueError(f"RealNVP: expected levels >= 1 and depth >= 2, got {levels} and {depth}.")
    if normalization not in _NORMALIZATIONS:
        raise ValueError(
            f"RealNVP: normalization: expected one of {list(_NORMALIZATIONS)}, got {normalization!r}."
        )
    shape = check_image("RealNVP", event_shape, levels - 1)
    normalize = _NORMALIZATIONS[normalization]

    def coupling(shape: tuple[int, ...], width: int, mask: str) -> Bijector:
        net = functools.partial(
            ResNet,
            width=width,
            depth=blocks,
            normalization="none" if normalization == "none" else "actnorm",
            rngs=rngs,
            **options,
        )
        layer = ImageCoupling(
            shape,
            mask=mask,
            make_conditioner=conditioner_factory("RealNVP", conditioner, net, rngs=rngs),
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
    return MultiScale(made)
