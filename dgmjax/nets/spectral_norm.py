"""Dense layers and convolutions of spectral norm 1, whose power iteration goes on from step to step."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.conv import add_bias
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.conv import conv2d
from dgmjax.numerics.spectral import (
    conv_power_iteration,
    dense_power_iteration,
    spectral_init,
)

_INIT = nnx.initializers.he_normal()


class SpectralLinear(Module):
    """``y = x W / sigma(W) + b``: ``[*batch, in_size] -> [*batch, out_size]``, Lipschitz with constant 1.

    ``sigma`` is the largest singular value by one step of power iteration from a stored vector, an estimate from below;
    its gradient is that of the singular value. Weights move little in a step of an optimizer, so one iteration a step,
    `apply_and_update`, is enough to follow them: at first the estimate is that of a random direction.

    Args:
      in_size: length of the input vector.
      out_size: length of the output vector.
      rngs: ``nnx.Rngs`` for the initial weights and vector; not kept.

    Source: Miyato et al., 2018, *Spectral normalization for generative adversarial networks*, arXiv:1802.05957,
      algorithm 1.
    """

    def __init__(self, in_size: int, out_size: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(_INIT(rngs.params(), (in_size, out_size), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out_size, jnp.float32))
        self.vector = nnx.BatchStat(spectral_init(rngs.params(), (out_size,)))

    @compiled
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer; the stored vector stays."""
        return self.apply_and_update(x)[0]

    @compiled
    def apply_and_update(self, x: jax.Array) -> tuple[jax.Array, Self]:
        """The output, and the layer with its vector one step further; the norm is the same in both."""
        kernel, vector = self.kernel[...].astype(x.dtype), self.vector[...].astype(x.dtype)
        vector, sigma = dense_power_iteration(kernel, vector, num_steps=1)
        out = add_bias(x @ _over(kernel, sigma), self.bias[...])
        return out, _with_vector(self, vector)


class SpectralConv(Module):
    """``y = conv(x, W) / sigma(W) + b``: ``[*batch, h, w, c] -> [*batch, h, w, f]``, Lipschitz with constant 1.

    As `SpectralLinear`. The norm is that of the convolution with zero padding on ``h x w`` images; that of the reshaped
    kernel, which the paper takes, can be smaller by up to the number of taps along a side.

    Args:
      in_shape: ``(h, w, c)``.
      out_channels: ``f``.
      size: odd side of the kernel.
      rngs: ``nnx.Rngs`` for the initial weights and vector; not kept.

    Source: Miyato et al., 2018, arXiv:1802.05957, algorithm 1; norm of the convolution: Gouk et al., 2018,
      arXiv:1804.04368.
    """

    def __init__(
        self, in_shape: tuple[int, int, int], out_channels: int, *, size: int = 3, rngs: nnx.Rngs
    ):
        height, width, channels = in_shape
        shape = (size, size, channels, out_channels)
        self.kernel = nnx.Param(_INIT(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32))
        self.vector = nnx.BatchStat(spectral_init(rngs.params(), (height, width, out_channels)))

    @compiled
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the layer; the stored vector stays."""
        return self.apply_and_update(x)[0]

    @compiled
    def apply_and_update(self, x: jax.Array) -> tuple[jax.Array, Self]:
        """The output, and the layer with its vector one step further; the norm is the same in both."""
        kernel, vector = self.kernel[...].astype(x.dtype), self.vector[...].astype(x.dtype)
        vector, sigma = conv_power_iteration(kernel, vector, num_steps=1)
        out = add_bias(conv2d(x, _over(kernel, sigma)), self.bias[...])
        return out, _with_vector(self, vector)


def _over(kernel: jax.Array, sigma: jax.Array) -> jax.Array:
    # A kernel of zeros has the norm 0 and stays one.
    return kernel / jnp.maximum(sigma, float(jnp.finfo(sigma.dtype).tiny))


def _with_vector(layer: SpectralLinear | SpectralConv, vector: jax.Array) -> Any:
    new = nnx.clone(layer)
    new.vector = nnx.BatchStat(jax.lax.stop_gradient(vector).astype(layer.vector[...].dtype))
    return new
