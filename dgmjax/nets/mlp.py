"""Multi-layer perceptron used as conditioner, encoder or decoder."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.numerics import random

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}

# Made once: a module keeps its initializer, and networks that differ in nothing else can then be stacked.
_HIDDEN_INIT = nnx.initializers.he_normal()
_LAST_INIT = nnx.initializers.lecun_normal()


def activation_fn(name: str) -> Callable[[jax.Array], jax.Array]:
    """Return the activation called ``name``.

    Raises:
      ValueError: unknown name; the message lists the known ones.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation: unknown name {name!r}; expected one of {sorted(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]


def dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Zero each element with probability ``rate`` and scale the rest by ``1 / (1 - rate)``; one key, or one an example.

    Source: Srivastava et al., 2014, *Dropout*, JMLR 15.
    """
    keep = random.draw(
        lambda key, shape: jax.random.bernoulli(key, 1.0 - rate, shape), key, x.shape
    )
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


class MLP(nnx.Module):
    """``[*batch, in_size] -> [*batch, *out_shape]``, with an optional context concatenated to the input.

    The last layer starts at zero by default, so a coupling that uses it starts as the identity.

    Args:
      in_size: length of the input vector.
      out_shape: shape of the output of one example.
      width: units of a hidden layer.
      depth: number of hidden layers, at least 1.
      context_size: length of the context vector; 0 for none.
      activation: name in ``ACTIVATIONS``.
      dropout: probability of dropping a hidden unit when a key is given.
      zero_init: start the last layer at zero.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.
    """

    def __init__(
        self,
        in_size: int,
        out_shape: Sequence[int],
        *,
        width: int,
        depth: int = 2,
        context_size: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
        zero_init: bool = True,
        rngs: nnx.Rngs,
    ):
        if depth < 1 or width < 1:
            raise ValueError(f"MLP: depth and width must be at least 1, got {depth} and {width}.")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"MLP: dropout must be in [0, 1), got {dropout}.")
        activation_fn(activation)
        self.out_shape = tuple(out_shape)
        self.activation = activation
        self.dropout = dropout
        sizes = [in_size + context_size] + [width] * depth
        self.hidden = nnx.List(
            [
                nnx.Linear(a, b, kernel_init=_HIDDEN_INIT, rngs=rngs)
                for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            ]
        )
        last_init = nnx.initializers.zeros if zero_init else _LAST_INIT
        self.last = nnx.Linear(width, math.prod(self.out_shape), kernel_init=last_init, rngs=rngs)

    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Apply the network; ``key`` switches dropout on."""
        if context is not None:
            context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))
            x = jnp.concatenate([x, context], axis=-1)
        activation = activation_fn(self.activation)
        for index, layer in enumerate(self.hidden):
            x = activation(layer(x))
            if key is not None and self.dropout > 0.0:
                x = dropout(x, self.dropout, random.fold_in(key, index))
        return self.last(x).reshape(*x.shape[:-1], *self.out_shape)
