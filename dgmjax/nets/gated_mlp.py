"""Multi-layer perceptron of gated layers."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.gates import gate
from dgmjax.nets.mlp import check_compute_dtype, dropout
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

_HIDDEN_INIT = nnx.initializers.he_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


class GatedMLP(Module):
    """``[*batch, in_size] -> [*batch, *out_shape]``: layers ``(W x + b) sigmoid(V x + c)``, the last one linear.

    Encoder and decoder of variational autoencoders. Mixed precision is that of `dgmjax.nets.MLP`.

    Args:
      in_size: length of the input vector.
      out_shape: shape of the output of one example.
      width: units of a hidden layer; 300 in the paper.
      depth: number of hidden layers, at least 1; 2 in the paper.
      dropout: probability of dropping a hidden unit when a key is given.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a number out of range or an unknown name.

    Source: Tomczak and Welling, 2018, *VAE with a VampPrior*, arXiv:1705.07120, and the authors' code; the gate:
      Dauphin et al., 2017, arXiv:1612.08083, section 2; the initial weights: He et al., 2015, arXiv:1502.01852.
    """

    def __init__(
        self,
        in_size: int,
        out_shape: Sequence[int],
        *,
        width: int,
        depth: int = 2,
        dropout: float = 0.0,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if depth < 1 or width < 1:
            raise ValueError(
                f"GatedMLP: depth and width must be at least 1, got {depth} and {width}."
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"GatedMLP: dropout must be in [0, 1), got {dropout}.")
        check_compute_dtype(compute_dtype, where="GatedMLP")
        self.compute_dtype = compute_dtype
        self.out_shape = tuple(out_shape)
        self.dropout = dropout
        dtype = None if compute_dtype is None else jnp.dtype(compute_dtype)
        sizes = [in_size] + [width] * depth
        self.hidden = nnx.List(
            [
                nnx.Linear(a, 2 * b, kernel_init=_HIDDEN_INIT, dtype=dtype, rngs=rngs)
                for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            ]
        )
        self.last = nnx.Linear(
            width, math.prod(self.out_shape), kernel_init=_LAST_INIT, dtype=dtype, rngs=rngs
        )

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Apply the network; ``key``, one or one an example, switches dropout on."""
        data_dtype = x.dtype
        for index, layer in enumerate(self.hidden):
            x = gate(layer(x))
            if key is not None and self.dropout > 0.0:
                x = dropout(x, self.dropout, prng.fold_in(key, index))
        out = self.last(x).reshape(*x.shape[:-1], *self.out_shape)
        return out if self.compute_dtype is None else out.astype(data_dtype)
