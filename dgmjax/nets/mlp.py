"""Multi-layer perceptron used as conditioner, encoder or decoder."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.activations import Activation, activation_fn
from dgmjax.nets.summary import Module
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled

COMPUTE_DTYPES = ("bfloat16", "float16")

# Made once: a module keeps its initializer, and networks that differ in nothing else can then be stacked.
_HIDDEN_INIT = nnx.initializers.he_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


def check_compute_dtype(name: str | None, *, where: str) -> None:
    """Reject what is no name of a 16-bit floating-point type, nor None.

    Raises:
      ValueError: unknown name; the message lists the known ones.
    """
    if name not in (None, *COMPUTE_DTYPES):
        raise ValueError(
            f"{where}: compute_dtype: expected one of {list(COMPUTE_DTYPES)}, or None for the dtype of the data, got "
            f"{name!r}."
        )


def dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Zero each element with probability ``rate`` and scale the rest by ``1 / (1 - rate)``; one key, or one an example.

    Source: Srivastava et al., 2014, *Dropout*, JMLR 15.
    """
    keep = prng.draw(lambda key, shape: jax.random.bernoulli(key, 1.0 - rate, shape), key, x.shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


class MLP(Module):
    """``[*batch, in_size] -> [*batch, *out_shape]``, with an optional context concatenated to the input.

    The last layer starts at zero by default, so a coupling that uses it starts as the identity.

    Mixed precision: with a ``compute_dtype`` the parameters are kept as they are, in float32, and cast where they are
    used; the input is rounded, every layer computes in 16 bits, and the output is cast back to the dtype of the input.
    What follows, transformers, log-determinants and inverses, whose errors add up over layers and elements, keeps the
    precision of the data, and gradients reach the parameters in theirs. A rounded network is a step function. Both
    directions of a flow compute the same one, so round trips are as exact as before unless float32 noise carries a
    value across a step: then an event is off by the size of the step, 1e-4 to 1e-2 (`tests/test_precision.py`).
    ``"bfloat16"`` has the range of float32; in ``"float16"`` gradients below 6e-8 vanish, so scale the loss.

    Args:
      in_size: length of the input vector.
      out_shape: shape of the output of one example.
      width: units of a hidden layer.
      depth: number of hidden layers, at least 1.
      context_size: length of the context vector; 0 for none.
      activation: name in ``ACTIVATIONS``, or a function such as ``jax.nn.mish``.
      dropout: probability of dropping a hidden unit when a key is given.
      zero_init: start the last layer at zero.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` for mixed precision; None computes in the dtype of the data.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: a number out of range or an unknown name.

    Source of the mixed precision: Micikevicius et al., 2018, *Mixed precision training*, arXiv:1710.03740, section 3.
    """

    def __init__(
        self,
        in_size: int,
        out_shape: Sequence[int],
        *,
        width: int,
        depth: int = 2,
        context_size: int = 0,
        activation: Activation = "relu",
        dropout: float = 0.0,
        zero_init: bool = True,
        compute_dtype: str | None = None,
        rngs: nnx.Rngs,
    ):
        if depth < 1 or width < 1:
            raise ValueError(f"MLP: depth and width must be at least 1, got {depth} and {width}.")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"MLP: dropout must be in [0, 1), got {dropout}.")
        activation_fn(activation)
        check_compute_dtype(compute_dtype, where="MLP")
        self.compute_dtype = compute_dtype
        self.out_shape = tuple(out_shape)
        self.activation = activation
        self.dropout = dropout
        dtype = None if compute_dtype is None else jnp.dtype(compute_dtype)
        sizes = [in_size + context_size] + [width] * depth
        self.hidden = nnx.List(
            [
                nnx.Linear(a, b, kernel_init=_HIDDEN_INIT, dtype=dtype, rngs=rngs)
                for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            ]
        )
        last_init = nnx.initializers.zeros if zero_init else _LAST_INIT
        self.last = nnx.Linear(
            width, math.prod(self.out_shape), kernel_init=last_init, dtype=dtype, rngs=rngs
        )

    @compiled
    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Apply the network; ``key`` switches dropout on."""
        if context is not None:
            context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))
            x = jnp.concatenate([x, context], axis=-1)
        activation, data_dtype = activation_fn(self.activation), x.dtype
        for index, layer in enumerate(self.hidden):
            x = activation(layer(x))
            if key is not None and self.dropout > 0.0:
                x = dropout(x, self.dropout, prng.fold_in(key, index))
        out = self.last(x).reshape(*x.shape[:-1], *self.out_shape)
        return out if self.compute_dtype is None else out.astype(data_dtype)
