"""Activations of networks, by name or as a function."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

ActivationName = Literal["elu", "gelu", "leaky_relu", "relu", "silu", "tanh"]
Activation = ActivationName | Callable[[jax.Array], jax.Array]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


def activation_fn(activation: Activation) -> Callable[[jax.Array], jax.Array]:
    """The activation of a name in ``ACTIVATIONS``, or the elementwise function that was given, e.g. ``jax.nn.mish``.

    A model that holds a function is saved if its name finds it again, see `dgmjax.load`.

    Raises:
      ValueError: unknown name; the message lists the known ones.
      TypeError: neither a name nor a function; a module, whose parameters no network would own.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: unknown name {activation!r}; expected one of {sorted(ACTIVATIONS)}, or a function such "
                f"as jax.nn.mish."
            )
        return ACTIVATIONS[activation]
    if isinstance(activation, nnx.Module) or not callable(activation):
        kind = "module " if isinstance(activation, nnx.Module) else ""
        raise TypeError(
            f"activation: expected a name or a function without parameters, such as jax.nn.mish, got the {kind}"
            f"{type(activation).__name__ if kind else repr(activation)}."
        )
    return activation
