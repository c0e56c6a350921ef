"""Convolutional conditioners of image flows: what they share, and Glow's network of three convolutions."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.actnorm import actnorm_init
from dgmjax.checks import batch_shape
from dgmjax.nets.activations import Activation, activation_fn
from dgmjax.nets.conv import Conv, ZeroConv, add_bias
from dgmjax.nets.data_init import data_init_once, not_initialised
from dgmjax.nets.mlp import check_compute_dtype, dropout
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng

# Under a normalization only the ratio of a kernel to the step of the optimizer matters: Glow's. Without one, the scale.
_NORMALIZED_INIT = nnx.initializers.normal(0.05)
_HIDDEN_INIT = nnx.initializers.he_normal()
_CONTEXT_INIT = nnx.initializers.lecun_normal()


class ChannelNorm(Module):
    """``(x - shift) exp(-log_scale)`` with one ``shift`` and ``log_scale`` a channel, the last axis; at first ``x``."""

    def __init__(self, channels: int):
        self.shift = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.log_scale = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize the channels of ``[..., c]``."""
        scale = jnp.exp(-self.log_scale[...]).astype(x.dtype)
        shift = self.shift[...].astype(x.dtype)
        return (x - jnp.broadcast_to(shift, x.shape)) * jnp.broadcast_to(scale, x.shape)

    def with_data_init(self, x: jax.Array) -> Self:
        """A new one that gives the channels of ``x`` mean 0 and variance 1 (`dgmjax.bijectors.actnorm_init`)."""
        shift, log_scale = actnorm_init(x.astype(self.shift.dtype))
        new = nnx.clone(self)
        new.shift, new.log_scale = nnx.Param(shift), nnx.Param(log_scale)
        return new


class ConvConditioner(Module):
    """What convolutional conditioners share: the contract of their call, normalization, dropout, mixed precision.

    Their ``_layers`` maps images to images in one dtype, and calls ``activate`` once for every entry of ``norms``.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        *,
        width: int,
        context_size: int,
        activation: Activation,
        dropout: float,
        num_norms: int,
        compute_dtype: str | None,
        rngs: nnx.Rngs,
    ):
        name = type(self).__name__
        if len(in_shape) != 3:
            raise ValueError(
                f"{name}: expected in_shape (h, w, c), got {tuple(in_shape)}; use MLP for vectors."
            )
        if width < 1 or out_channels < 1:
            raise ValueError(
                f"{name}: width and out_channels must be at least 1, got {width} and {out_channels}."
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"{name}: dropout must be in [0, 1), got {dropout}.")
        activation_fn(activation)
        check_compute_dtype(compute_dtype, where=name)
        self.in_shape = tuple(in_shape)
        self.context_size = context_size
        self.activation = activation
        self.dropout = dropout
        self.compute_dtype = compute_dtype
        self.norms = nnx.List([ChannelNorm(width) for _ in range(num_norms)])
        self.data_initialised = not_initialised() if num_norms else nnx.data(None)
        self.context_kernel = nnx.data(None)
        if context_size:
            shape = (context_size, width)
            self.context_kernel = nnx.Param(_CONTEXT_INIT(rngs.params(), shape, jnp.float32))

    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``[*batch, h, w, c] -> [*batch, h, w, out_channels]``; ``key``, one or one an example, switches dropout on.

        Raises:
          ValueError: images or a context of another shape than announced, or no context where one is needed.
        """
        return self._run(x, context, Activate(self, key))

    @property
    def depends_on_data(self) -> bool:
        """Whether there are normalizations to start from data."""
        return len(self.norms) > 0

    @data_init_once
    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """A new network whose normalizations give their inputs, on this batch, mean 0 and variance 1 a channel.

        Without normalizations the network itself. A channel that never varies is centred and keeps its scale.
        """
        if not self.norms:
            return self
        activate = Activate(self, renew=True)
        self._run(x, context, activate)
        new = nnx.clone(self)
        new.norms = nnx.List(activate.norms)
        return new

    def _run(self, x: jax.Array, context: jax.Array | None, activate: "Activate") -> jax.Array:
        name = type(self).__name__
        batch = batch_shape(x, self.in_shape, where=name)
        if (context is not None) != (self.context_size > 0):
            raise ValueError(
                f"{name}: expected {'a' if self.context_size else 'no'} context, since context_size is "
                f"{self.context_size}, got {'none' if context is None else context.shape}."
            )
        dtype = x.dtype if self.compute_dtype is None else jnp.dtype(self.compute_dtype)
        shift = None
        if context is not None and self.context_kernel is not None:
            batch_shape(context, (self.context_size,), where=f"{name}, context")
            rows = context.astype(dtype) @ self.context_kernel[...].astype(dtype)
            shift = jnp.broadcast_to(rows, (*batch, rows.shape[-1]))[..., None, None, :]
        return self._layers(x.astype(dtype), shift, activate).astype(x.dtype)

    def _layers(self, x: jax.Array, shift: jax.Array | None, activate: "Activate") -> jax.Array:
        raise NotImplementedError


class Activate:
    """What stands between two convolutions: normalization, activation, dropout; the next of each at every call.

    Attributes:
      norms: the normalizations used so far, with ``renew`` those started from what they met.
    """

    def __init__(self, net: ConvConditioner, key: jax.Array | None = None, *, renew: bool = False):
        self.net, self.key, self.renew = net, key, renew
        self.norms: list[ChannelNorm] = []
        self.count = 0

    def __call__(self, x: jax.Array, *, drop: bool = True) -> jax.Array:
        """``[*batch, h, w, width]``, of the same shape."""
        index, self.count = self.count, self.count + 1
        if self.net.norms:
            x = self._norm(index, x)(x)
        return self._rest(index, x, drop=drop)

    def after(self, conv: Conv, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        """The same of ``conv(x) + bias``; the scale of the normalization goes into the weights of ``conv``."""
        index, self.count = self.count, self.count + 1
        if not self.net.norms:
            return self._rest(index, add_bias(conv(x), bias), drop=True)
        norm = self._norm(index, add_bias(conv(x), bias) if self.renew else None)
        scale = jnp.exp(-norm.log_scale[...])
        out = add_bias(conv(x, scale=scale), -norm.shift[...] * scale)
        if bias is not None:
            out = out + jnp.broadcast_to(
                bias * jnp.broadcast_to(scale.astype(bias.dtype), bias.shape), out.shape
            )
        return self._rest(index, out, drop=True)

    def _norm(self, index: int, x: jax.Array | None) -> ChannelNorm:
        norm = self.net.norms[index]
        if self.renew and x is not None:
            norm = norm.with_data_init(x)
        self.norms.append(norm)
        return norm

    def _rest(self, index: int, x: jax.Array, *, drop: bool) -> jax.Array:
        x = activation_fn(self.net.activation)(x)
        if drop and self.key is not None and self.net.dropout > 0.0:
            x = dropout(x, self.net.dropout, prng.fold_in(self.key, index))
        return x


class ConvNet(ConvConditioner):
    """Glow's conditioner, ``[*batch, h, w, c] -> [*batch, h, w, out_channels]``.

    Convolutions 3x3, 1x1 and 3x3, each of the first two followed by a normalization and the activation; the last is a
    `ZeroConv`, so a coupling that uses the network starts as the identity. A context adds ``context @ kernel``, one
    bias a channel, after the first convolution. Mixed precision is that of `dgmjax.nets.MLP`.

    Args:
      in_shape: ``(h, w, c)``.
      out_channels: channels of the output.
      width: channels of the two hidden layers; 512 in the paper.
      context_size: length of the context vector; 0 for none.
      activation: name in ``ACTIVATIONS``, or a function such as ``jax.nn.mish``.
      dropout: probability of dropping a hidden unit when a key is given.
      edge_padding: give the 3x3 convolutions a channel that is 1 in the padding and 0 in the image, so that they can
        tell an edge from a zero.
      actnorm: normalize before the activations, by a learned shift and scale a channel that `with_data_init` starts
        from data; otherwise the hidden convolutions have biases.
      zero_init: start the last layer at zero.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a shape or number out of range or an unknown name.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.3 and the authors' code, of which the edge
      padding, the factor 3 and the initial kernels, ``N(0, 0.05^2)``, are.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_channels: int,
        *,
        width: int,
        context_size: int = 0,
        activation: Activation = "relu",
        dropout: float = 0.0,
        edge_padding: bool = True,
        actnorm: bool = True,
        zero_init: bool = True,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_shape,
            out_channels,
            width=width,
            context_size=context_size,
            activation=activation,
            dropout=dropout,
            num_norms=2 if actnorm else 0,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        init = _NORMALIZED_INIT if actnorm else _HIDDEN_INIT
        bias, edge = not actnorm, edge_padding
        channels = self.in_shape[-1]
        self.first = Conv(3, channels, width, init=init, edge=edge, bias=bias, rngs=rngs)
        self.second = Conv(1, width, width, init=init, edge=False, bias=bias, rngs=rngs)
        self.last = ZeroConv(width, out_channels, edge=edge, zero_init=zero_init, rngs=rngs)

    def _layers(self, x: jax.Array, shift: jax.Array | None, activate: Activate) -> jax.Array:
        hidden = activate.after(self.first, x, shift)
        return self.last(activate.after(self.second, hidden))
