"""Encoders and decoders by name."""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args

from flax import nnx

from dgmjax.nets.activations import Activation
from dgmjax.nets.conv_decoder import ConvDecoder
from dgmjax.nets.conv_encoder import ConvEncoder
from dgmjax.nets.flattened import Flattened
from dgmjax.nets.gated_mlp import GatedMLP
from dgmjax.nets.mlp import MLP

NetworkName = Literal["mlp", "gated_mlp", "gated_conv", "residual_conv"]

_MAX_HALVINGS = 2
_HEAD_SCALE = 0.1

_Net = TypeVar("_Net", bound=nnx.Module)


def make_encoder(
    name: NetworkName,
    event_shape: Sequence[int],
    out_size: int,
    *,
    width: int,
    depth: int,
    activation: Activation,
    dropout: float,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """``encoder(x, key=None)``: events ``[*batch, *event]``, floats, to ``[*batch, out_size]``; see `dgmjax.VAE`.

    Raises:
      ValueError: an unknown name, or an event that is no image for a convolutional network.
    """
    _check(name)
    options: dict[str, Any] = {"depth": depth, "dropout": dropout, "rngs": rngs}
    if name.endswith("conv"):
        widths, kind = _widths(event_shape, width), name.removesuffix("_conv")
        return ConvEncoder(event_shape, out_size, widths=widths, kind=kind, **options)  # type: ignore[arg-type]
    size = math.prod(event_shape)
    if name == "gated_mlp":
        return Flattened(GatedMLP(size, (out_size,), width=width, **options), event_shape)
    options |= {"activation": activation, "zero_init": False}
    return Flattened(MLP(size, (out_size,), width=width, **options), event_shape)


def make_decoder(
    name: NetworkName,
    latent_dim: int,
    out_shape: Sequence[int],
    *,
    width: int,
    depth: int,
    activation: Activation,
    dropout: float,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """``decoder(z, key=None)``: latents ``[*batch, d]`` to ``[*batch, *out_shape]``; the mirror of `make_encoder`."""
    _check(name)
    options: dict[str, Any] = {"depth": depth, "dropout": dropout, "rngs": rngs}
    if name.endswith("conv"):
        widths, kind = _widths(out_shape, width), name.removesuffix("_conv")
        return ConvDecoder(latent_dim, out_shape, widths=widths, kind=kind, **options)  # type: ignore[arg-type]
    if name == "gated_mlp":
        return GatedMLP(latent_dim, out_shape, width=width, **options)
    options |= {"activation": activation, "zero_init": False}
    return MLP(latent_dim, out_shape, width=width, **options)


def near_zero(net: _Net) -> _Net:
    """``net``, just made, with a tenth of the weights in its last layer, so that its outputs start near 0.

    There a posterior is the standard normal, and the distribution of a pixel nearly uniform. Both take logarithms of
    scales: those of a network that keeps the variance of its input start at scales that are some powers of e off, and
    the decoder, whose input they scale, farther away still.
    """
    inner: Any = getattr(net, "net", net)
    last = inner.last
    last.kernel = nnx.Param(_HEAD_SCALE * last.kernel[...])
    return net


def _check(name: str) -> None:
    if name not in get_args(NetworkName):
        raise ValueError(
            f"VAE: network: expected one of {list(get_args(NetworkName))}, got {name!r}."
        )


def _widths(shape: Sequence[int], width: int) -> list[int]:
    """``width`` channels at the finest resolution, twice as many at up to two coarser ones."""
    halvings, side = 0, min(shape[:2])
    while (
        halvings < _MAX_HALVINGS
        and side > 4
        and all(s % 2 ** (halvings + 1) == 0 for s in shape[:2])
    ):
        halvings, side = halvings + 1, side // 2
    return [width] + [2 * width] * halvings
