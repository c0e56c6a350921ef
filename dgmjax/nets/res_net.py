"""RealNVP's residual conditioner of image flows."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.activations import Activation
from dgmjax.nets.conv import add_bias
from dgmjax.nets.conv_net import Activate, ConvConditioner
from dgmjax.nets.summary import Module
from dgmjax.numerics.conv import conv2d

NORMALIZATIONS = ("none", "actnorm")

_INIT = nnx.initializers.he_normal()


class WeightNormConv(Module):
    """``conv(x, g v / |v|) + bias``: the kernel of each output channel has the norm ``|g|``, at first ``scale``.

    A convolution that keeps the size of images, with zero padding.

    Source: Salimans and Kingma, 2016, *Weight normalization*, arXiv:1602.07868, equation 2.
    """

    def __init__(
        self, size: int, in_channels: int, out_channels: int, *, scale: float, rngs: nnx.Rngs
    ):
        shape = (size, size, in_channels, out_channels)
        self.direction = nnx.Param(_INIT(rngs.params(), shape, jnp.float32))
        self.scale = nnx.Param(jnp.full(out_channels, scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h, w, out_channels]`` in the dtype of ``x``."""
        v = self.direction[...]
        factor = self.scale[...] * jax.lax.rsqrt((v * v).sum((0, 1, 2)))
        kernel = (v * jnp.broadcast_to(factor, v.shape)).astype(x.dtype)
        return add_bias(conv2d(x, kernel), self.bias[...])


class ResNet(ConvConditioner):
    """RealNVP's conditioner, ``[*batch, h, w, c] -> [*batch, h, w, out_channels]``.

    ``h_0 = conv3x3(x)``, ``h_k = h_{k-1} + conv3x3(a(conv3x3(a(h_{k-1}))))`` for ``depth`` blocks, and the output
    ``conv1x1(a(sum_k conv1x1_k(h_k)))`` over ``k = 0, ..., depth``, where ``a`` is the normalization, if any, and the
    activation. All kernels are weight-normalized, with norm 1 an output channel at first; that of the last is 0, so a
    coupling that uses the network starts as the identity. A context adds ``context @ kernel``, one bias a channel, to
    ``h_0``. Mixed precision is that of `dgmjax.nets.MLP`.

    Args:
      in_shape: ``(h, w, c)``.
      out_channels: channels of the output.
      width: channels of the hidden layers; 64 in the paper for CIFAR-10.
      depth: number of residual blocks, at least 1; 8 in the paper for CIFAR-10.
      context_size: length of the context vector; 0 for none.
      activation: name in ``ACTIVATIONS``, or a function such as ``jax.nn.mish``.
      dropout: probability of dropping a unit between the two convolutions of a block when a key is given.
      normalization: before each activation; ``"none"``, or ``"actnorm"``, a learned shift and scale a channel that
        `with_data_init` starts from data. The paper's is batch normalization, which couples the examples of a batch.
      zero_init: start the last layer at zero.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a shape or number out of range or an unknown name.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 4.1 and the authors' code,
      of which the sum of 1x1 convolutions is.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        *,
        width: int,
        depth: int = 4,
        context_size: int = 0,
        activation: Activation = "relu",
        dropout: float = 0.0,
        normalization: str = "none",
        zero_init: bool = True,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if depth < 1:
            raise ValueError(f"ResNet: depth must be at least 1, got {depth}.")
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"ResNet: normalization: expected one of {list(NORMALIZATIONS)}, got {normalization!r}."
            )
        super().__init__(
            in_shape,
            out_channels,
            width=width,
            context_size=context_size,
            activation=activation,
            dropout=dropout,
            num_norms=2 * depth + 1 if normalization == "actnorm" else 0,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )

        def convs(size: int, num: int) -> nnx.List:
            return nnx.List(
                [WeightNormConv(size, width, width, scale=1.0, rngs=rngs) for _ in range(num)]
            )

        self.first = WeightNormConv(3, self.in_shape[-1], width, scale=1.0, rngs=rngs)
        self.inner, self.outer = convs(3, depth), convs(3, depth)
        self.skips = convs(1, depth + 1)
        last_scale = 0.0 if zero_init else 1.0
        self.last = WeightNormConv(1, width, out_channels, scale=last_scale, rngs=rngs)

    def _layers(self, x: jax.Array, shift: jax.Array | None, activate: Activate) -> jax.Array:
        hidden = add_bias(self.first(x), shift)
        total = self.skips[0](hidden)
        for inner, outer, skip in zip(self.inner, self.outer, self.skips[1:], strict=True):
            residual = inner(activate(hidden, drop=False))
            hidden = hidden + outer(activate(residual))
            total = total + skip(hidden)
        return self.last(activate(total, drop=False))
