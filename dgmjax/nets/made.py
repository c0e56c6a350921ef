"""Masked autoencoder for distribution estimation."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.bijectors.made_masks import Degrees, made_masks
from dgmjax.bijectors.mixed import network_inputs
from dgmjax.nets.activations import Activation, activation_fn
from dgmjax.nets.mlp import check_compute_dtype, dropout
from dgmjax.nets.static import StaticArray
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled


class MADE(Module):
    """``[*batch, d] -> [*batch, d, num_params]``; output ``i`` depends on the elements before ``i`` in the order only.

    The last layer starts at zero.

    With a ``compute_dtype`` it computes in mixed precision, as `dgmjax.nets.MLP` does and with the same effect on round
    trips: the incremental direction of `dgmjax.MaskedAutoregressive` sums the same rounded products in another order.

    Args:
      degrees: see `dgmjax.bijectors.made_degrees`.
      num_params: outputs an element.
      depth: number of hidden layers, at least 1.
      context_size: length of the context vector; 0 for none.
      activation: name or function, see `dgmjax.nets.activation_fn`.
      dropout: probability of dropping a hidden unit when a key is given.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      angles: ``d`` booleans, of the elements that are angles: their cosines and sines are what the network sees.
      rngs: ``nnx.Rngs`` for the initial weights.

    Source: Germain et al., 2015, arXiv:1502.03509, section 4.
    """

    angles: StaticArray | None = None

    def __init__(
        self,
        degrees: Degrees,
        num_params: int,
        *,
        depth: int = 2,
        context_size: int = 0,
        activation: Activation = "relu",
        dropout: float = 0.0,
        compute_dtype: str | None = None,
        angles: np.ndarray | None = None,
        rngs: nnx.Rngs,
    ):
        if depth < 1:
            raise ValueError(f"MADE: depth must be at least 1, got {depth}.")
        activation_fn(activation)
        check_compute_dtype(compute_dtype, where="MADE")
        self.compute_dtype = compute_dtype
        self.activation = activation
        self.dropout = dropout
        self.num_params = num_params
        masks = made_masks(degrees, depth, num_params)
        if angles is not None and angles.any():
            self.angles = StaticArray(angles)
            # The sine of an angle is seen by those that see its cosine.
            masks[0] = np.concatenate([masks[0], masks[0][np.flatnonzero(angles)]])
        self.masks = tuple(StaticArray(mask) for mask in masks)
        shapes = [mask.shape for mask in masks]
        init = nnx.initializers.he_normal()
        kernels = [init(rngs.params(), shape, jnp.float32) for shape in shapes[:-1]]
        self.kernels = nnx.List(
            [nnx.Param(k) for k in [*kernels, jnp.zeros(shapes[-1], jnp.float32)]]
        )
        self.biases = nnx.List([nnx.Param(jnp.zeros(shape[1], jnp.float32)) for shape in shapes])
        shape = (context_size, shapes[0][1])
        self.context_kernel = (
            nnx.Param(init(rngs.params(), shape, jnp.float32)) if context_size else None
        )

    def masked_kernels(self) -> list[jax.Array]:
        """The kernels ``[in, out]`` in the dtype they compute in, with forbidden connections set to zero."""
        return [
            self._lowered(jnp.where(mask.value, kernel[...], jnp.zeros((), kernel.dtype)))
            for mask, kernel in zip(self.masks, self.kernels, strict=True)
        ]

    def offsets(self, context: jax.Array | None) -> list[jax.Array]:
        """What is added after each kernel: the biases, and the context in the first."""
        offsets = [self._lowered(bias[...]) for bias in self.biases]
        if context is not None and self.context_kernel is not None:
            from_context = self._lowered(context) @ self._lowered(self.context_kernel[...])
            lifted = offsets[0].reshape((1,) * (from_context.ndim - 1) + offsets[0].shape)
            offsets[0] = from_context + lifted
        return offsets

    @compiled
    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """All parameters in one pass; ``key`` switches dropout on."""
        kernels, offsets = self.masked_kernels(), self.offsets(context)
        inputs = x if self.angles is None else network_inputs(x, self.angles.value)
        act, hidden = activation_fn(self.activation), self._lowered(inputs)
        for index, (kernel, offset) in enumerate(zip(kernels, offsets, strict=True)):
            hidden = hidden @ kernel
            hidden = hidden + jnp.broadcast_to(offset, hidden.shape)
            if index < len(kernels) - 1:
                hidden = act(hidden)
                if key is not None and self.dropout > 0.0:
                    hidden = dropout(hidden, self.dropout, prng.fold_in(key, index))
        params = hidden.reshape(*x.shape, self.num_params)
        return params if self.compute_dtype is None else params.astype(x.dtype)

    def _lowered(self, value: jax.Array) -> jax.Array:
        return value if self.compute_dtype is None else value.astype(self.compute_dtype)
