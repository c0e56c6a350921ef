"""Networks with a bounded Lipschitz constant: LipSwish between spectrally normalised layers."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.spectral import (
    conv_power_iteration,
    dense_spectral_norm,
    same_conv,
    spectral_init,
    spectral_normalize,
)

_BETA = 0.5
# Power iteration underestimates a norm by no more than about sqrt(tolerance), here 0.3%.
_TOLERANCE, _MAX_STEPS = 1e-5, 200


def lipswish(x: jax.Array, beta: jax.Array) -> jax.Array:
    """``x sigmoid(softplus(beta) x) / 1.1``, elementwise: smooth, with slopes of absolute value below 1.

    The largest slope of ``x sigmoid(b x)`` is 1.0998 for every ``b > 0``. ``beta`` is a scalar of any sign.

    Source: Chen et al., 2019, arXiv:1906.02735, section 3.3.
    """
    return x * jax.nn.sigmoid(jax.nn.softplus(beta) * x) / 1.1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NormalizedNet:
    """A Lipschitz network with its kernels normalised once, so that repeated calls cost no spectral norms.

    Attributes:
      kernels: of the layers, normalised.
      biases: of the layers.
      betas: of the activations between them.
      context_kernel: ``[context, width]``, added before the first activation; or None.
    """

    kernels: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    betas: tuple[jax.Array, ...]
    context_kernel: jax.Array | None = None

    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """``[*batch, ..., in] -> [*batch, ..., out]``."""
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if index > 0:
                x = lipswish(x, self.betas[index - 1])
            x = x @ kernel if kernel.ndim == 2 else same_conv(x, kernel)
            x = x + jnp.broadcast_to(bias, x.shape)
            if index == 0 and self.context_kernel is not None and context is not None:
                x = x + jnp.broadcast_to(context @ self.context_kernel, x.shape)
        return x


class LipschitzMLP(Module):
    """``[*batch, in_size] -> [*batch, out_size]``, Lipschitz in ``x`` with constant ``coefficient ** (depth + 1)``.

    Dense layers whose kernels are scaled down to spectral norm ``coefficient`` where theirs is larger, with `lipswish`
    between them. The norms are exact and computed in every call (`dgmjax.numerics.dense_spectral_norm`), so the bound
    holds for any parameters, after any update, and there is no state to keep in step with the weights. A stored
    power-iteration vector would lag behind them, and its estimate is below the norm.

    The context enters the first layer through a kernel of its own without a bound, since only the dependence on ``x``
    matters for inversion. The last layer starts at zero by default, so a residual block starts as the identity.

    Args:
      in_size: length of the input vector.
      out_size: length of the output vector.
      width: units of a hidden layer.
      depth: number of hidden layers, at least 1.
      context_size: length of the context vector; 0 for none.
      coefficient: bound on the norm of each kernel, in (0, 1).
      zero_init: start the last layer at zero.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: ``depth``, ``width`` or ``coefficient`` out of range.

    Source: Behrmann et al., 2019, arXiv:1811.00995, section 2.1; Chen et al., 2019, arXiv:1906.02735, section 3.3.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        width: int,
        depth: int = 2,
        context_size: int = 0,
        coefficient: float = 0.97,
        zero_init: bool = True,
        rngs: nnx.Rngs,
    ):
        _check("LipschitzMLP", depth, width, coefficient)
        sizes = [in_size, *[width] * depth, out_size]
        shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.coefficient = float(coefficient)
        self.kernels, self.biases, self.betas = _layers(shapes, zero_init=zero_init, rngs=rngs)
        self.context_kernel = nnx.data(None)
        if context_size:
            self.context_kernel = nnx.Param(
                nnx.initializers.lecun_normal()(rngs.params(), (context_size, width), jnp.float32)
            )

    @property
    def lipschitz_bound(self) -> float:
        """``coefficient`` to the power of the number of kernels."""
        return self.coefficient ** len(self.kernels)

    def normalized(self) -> NormalizedNet:
        """The same function with its kernels normalised, for several calls with the same weights."""
        kernels = [kernel[...] for kernel in self.kernels]
        norms = [dense_spectral_norm(kernel) for kernel in kernels]
        context = None if self.context_kernel is None else self.context_kernel[...]
        return _normalized(self, kernels, norms, context)

    @compiled
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Apply the network to ``x`` and, if it has a context, ``[*batch, context_size]`` or one row."""
        return self.normalized()(x, context)


class LipschitzConv(Module):
    """``[*batch, h, w, c] -> [*batch, h, w, c]``: convolutions with `lipswish` between, all of bounded norm.

    The norm is that of the convolution on ``h x w`` images with zero padding, by power iteration to a relative
    tolerance of 1e-5, from a stored vector and with at most 200 steps. It is an estimate from below; ``coefficient``
    leaves the slack. Any stored vector gives the same norms to that tolerance, so the state may lag behind the weights;
    a fresh one from `with_power_iteration` only makes calls cheaper.

    Args:
      event_shape: ``(h, w, c)``.
      width: channels of a hidden layer.
      depth: number of hidden layers, at least 1.
      kernel_size: odd side of the kernels.
      coefficient: bound on the norm of each convolution, in (0, 1).
      zero_init: start the last layer at zero.
      rngs: ``nnx.Rngs`` for the initial weights and vectors; not kept.

    Raises:
      ValueError: ``event_shape``, ``depth``, ``width`` or ``coefficient`` out of range.

    Source: Behrmann et al., 2019, arXiv:1811.00995, section 2.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        width: int,
        depth: int = 1,
        kernel_size: int = 3,
        coefficient: float = 0.97,
        zero_init: bool = True,
        rngs: nnx.Rngs,
    ):
        _check("LipschitzConv", depth, width, coefficient)
        if len(event_shape) != 3:
            raise ValueError(
                f"LipschitzConv: expected event_shape (h, w, c), got {tuple(event_shape)}; use "
                f"LipschitzMLP for vectors."
            )
        height, breadth, channels = event_shape
        sizes = [channels, *[width] * depth, channels]
        shapes = [
            (kernel_size, kernel_size, a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        self.coefficient = float(coefficient)
        self.kernels, self.biases, self.betas = _layers(shapes, zero_init=zero_init, rngs=rngs)
        self.vectors = nnx.List(
            [nnx.data(spectral_init(rngs.params(), (height, breadth, b))) for b in sizes[1:]]
        )

    @property
    def lipschitz_bound(self) -> float:
        """``coefficient`` to the power of the number of kernels."""
        return self.coefficient ** len(self.kernels)

    def normalized(self) -> NormalizedNet:
        """The same function with its kernels normalised, for several calls with the same weights."""
        kernels = [kernel[...] for kernel in self.kernels]
        norms = [
            conv_power_iteration(kernel, u, num_steps=_MAX_STEPS, tolerance=_TOLERANCE)[1]
            for kernel, u in zip(kernels, self.vectors, strict=True)
        ]
        return _normalized(self, kernels, norms, None)

    @compiled
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Apply the network; ``context`` is not used."""
        del context
        return self.normalized()(x)

    def with_power_iteration(self, num_steps: int = 10) -> Self:
        """A new module whose stored vectors are ``num_steps`` steps closer to those of the present kernels."""
        new = nnx.clone(self)
        new.vectors = nnx.List(
            [
                nnx.data(conv_power_iteration(kernel[...], u, num_steps=num_steps)[0])
                for kernel, u in zip(self.kernels, self.vectors, strict=True)
            ]
        )
        return new


def _check(where: str, depth: int, width: int, coefficient: float) -> None:
    if depth < 1 or width < 1:
        raise ValueError(f"{where}: depth and width must be at least 1, got {depth} and {width}.")
    if not 0.0 < coefficient < 1.0:
        raise ValueError(f"{where}: coefficient must be between 0 and 1, got {coefficient}.")


def _layers(
    shapes: Sequence[tuple[int, ...]], *, zero_init: bool, rngs: nnx.Rngs
) -> tuple[nnx.List, nnx.List, nnx.List]:
    init, zeros = nnx.initializers.he_normal(), nnx.initializers.zeros
    inits = [init] * (len(shapes) - 1) + [zeros if zero_init else init]
    return (
        nnx.List(
            [
                nnx.Param(make(rngs.params(), shape, jnp.float32))
                for make, shape in zip(inits, shapes, strict=True)
            ]
        ),
        nnx.List([nnx.Param(jnp.zeros(shape[-1], jnp.float32)) for shape in shapes]),
        nnx.List([nnx.Param(jnp.asarray(_BETA, jnp.float32)) for _ in shapes[1:]]),
    )


def _normalized(
    net: LipschitzMLP | LipschitzConv,
    kernels: list[jax.Array],
    norms: list[jax.Array],
    context_kernel: jax.Array | None,
) -> NormalizedNet:
    return NormalizedNet(
        tuple(
            spectral_normalize(kernel, norm, net.coefficient)
            for kernel, norm in zip(kernels, norms, strict=True)
        ),
        tuple(bias[...] for bias in net.biases),
        tuple(beta[...] for beta in net.betas),
        context_kernel,
    )
