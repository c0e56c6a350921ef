"""Networks of couplings: how they are made by a factory of the user's, and called."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

MakeConditioner = Callable[..., nnx.Module]


def conditioner_factory(
    model: str, own: MakeConditioner | None, default: MakeConditioner, *, rngs: nnx.Rngs
) -> MakeConditioner:
    """The ``make_conditioner`` of a layer: ``default``, or the factory that the user gave to a model.

    A factory with a parameter ``rngs`` that has no value yet gets those of the model.

    Args:
      model: its name, for messages.
      own: called as ``own(in_size, out_shape, context_size=...)``; None for the default.
      default: of the model, with all its options.
      rngs: those of the model.

    Raises:
      TypeError: a network instead of what makes one, or a callable that does not take these arguments.
    """
    if own is None:
        return default
    if isinstance(own, nnx.Module) or not callable(own):
        raise TypeError(
            f"{model}: conditioner: expected what makes a network, such as its class or functools.partial of it, got "
            f"{own if isinstance(own, str) else type(own).__name__}; every coupling needs a network of its own."
        )
    given = own if isinstance(own, functools.partial) else functools.partial(own)
    function: Any = given.func
    arguments = given.args
    if isinstance(function, type):  # the metaclass of modules hides their signature
        function, arguments = getattr(function, "__init__"), (None, *arguments)  # noqa: B009
    signature = inspect.signature(function)
    if "rngs" in signature.parameters and "rngs" not in given.keywords:
        given = functools.partial(given, rngs=rngs)
    try:
        signature.bind(*arguments, 1, (1, 1), **(given.keywords | {"context_size": 0}))
    except TypeError as error:
        raise TypeError(
            f"{model}: conditioner is called as conditioner(in_size, out_shape, context_size=k), for images as "
            f"conditioner((h, w, in_channels), out_channels, context_size=k), with rngs= if it has such a parameter; "
            f"this one does not take that: {error}."
        ) from None
    return given


def context_size(
    context_shape: Sequence[int] | None, make_conditioner: MakeConditioner | None, *, where: str
) -> int:
    """``c`` of the context ``(c,)`` of a layer whose parameters are a network of the context alone.

    Args:
      context_shape: of the layer.
      make_conditioner: makes the network.
      where: name of the layer, for messages.

    Raises:
      ValueError: only one of the two is given, or the context is not a vector.
    """
    if context_shape is None or make_conditioner is None:
        raise ValueError(
            f"{where}: context_shape and make_conditioner go together, got {context_shape} and {make_conditioner}; "
            f"pass both for parameters that depend on the context, or neither."
        )
    if len(context_shape) != 1:
        raise ValueError(f"{where}: expected a vector context (c,), got {tuple(context_shape)}.")
    return int(context_shape[0])


def call_network(net: Any, *inputs: Any, key: jax.Array | None) -> Any:
    """``net(*inputs, key=key)``, without the key of the dropout for a network that has no such parameter."""
    drops = key is not None and "key" in inspect.signature(net).parameters
    return net(*inputs, key=key) if drops else net(*inputs)


def call_conditioner(
    net: Any,
    kept: jax.Array,
    context: jax.Array | None,
    key: jax.Array | None,
    *,
    out_shape: tuple[int, ...],
) -> jax.Array:
    """``net(kept, context, key=key)``, without the arguments that the network leaves out of its signature.

    Args:
      net: the network; None for a transformer without parameters, of which there are none to compute.
      kept: ``[..., in]``.
      context: for a conditional layer.
      key: of the dropout; networks without a parameter ``key`` have none.
      out_shape: what the last axis of ``kept`` becomes.

    Raises:
      TypeError: the network of a conditional layer takes no context.
      ValueError: it returns another shape.
    """
    if net is None:
        return jnp.zeros((*kept.shape[:-1], *out_shape), kept.dtype)
    name = type(net).__name__
    parameters = inspect.signature(net).parameters
    positional = [
        p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_context = len(positional) > 1
    anything = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    if context is not None and not takes_context and not anything:
        raise TypeError(
            f"{name}: the coupling is conditional, so its network is called as net(kept, context), and this one takes "
            f"no second argument."
        )
    given = [kept] if context is None and not takes_context else [kept, context]
    out = call_network(net, *given, key=key)
    expected = (*kept.shape[:-1], *out_shape)
    if out.shape != expected:
        raise ValueError(
            f"{name}: the network of a coupling returned {out.shape} for an input of shape {kept.shape}, expected "
            f"{expected}: its last axes are the second argument of the factory, {out_shape}."
        )
    return out
