"""Parameters of a bijector that may depend on the context."""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.conditioner import MakeConditioner, context_size
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled


class AmortizedParameters(Module):
    """Named arrays: ``base[name]``, or ``base[name] + net(context)[name]`` for a conditional bijector.

    The base stays in the conditional case, since a network whose last layer starts at zero would give all-zero
    parameters, where planar, radial and Sylvester flows are stuck at the identity.

    Args:
      initial: start of each array of ``base``.
      context_shape: ``(c,)``, or None for parameters that are the same for every event.
      make_conditioner: called once as ``make_conditioner(c, (n,))`` with ``n`` the number of parameters; returns a
        module ``net(context, key=None) -> [*batch, n]``, e.g. a partial of `dgmjax.nets.MLP`.

    Raises:
      ValueError: only one of ``context_shape`` and ``make_conditioner`` is given, or the context is not a vector.
    """

    def __init__(
        self,
        initial: Mapping[str, jax.Array],
        *,
        context_shape: Sequence[int] | None,
        make_conditioner: MakeConditioner | None,
    ):
        self.base = nnx.Dict({name: nnx.Param(value) for name, value in initial.items()})
        self.conditioner = nnx.data(None)
        if context_shape is not None or make_conditioner is not None:
            inputs = context_size(context_shape, make_conditioner, where="AmortizedParameters")
            size = sum(math.prod(value.shape) for value in initial.values())
            self.conditioner = nnx.data(make_conditioner(inputs, (size,)))  # type: ignore[misc]

    @compiled
    def __call__(
        self, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Arrays by name, ``[*batch, *shape]`` with the batch axes of the context, or none without a network."""
        base = {name: param[...] for name, param in self.base.items()}
        if self.conditioner is None:
            return base
        flat = self.conditioner(context) if key is None else self.conditioner(context, key=key)
        result, start = {}, 0
        for name, value in base.items():
            stop = start + value.size
            change = flat[..., start:stop].reshape(*flat.shape[:-1], *value.shape)
            result[name] = jnp.broadcast_to(value, change.shape) + change
            start = stop
        return result


def vector_event(event_shape: Sequence[int], *, where: str) -> tuple[int, ...]:
    """``event_shape`` as a tuple of one size.

    Raises:
      ValueError: another rank than 1.
    """
    if len(event_shape) != 1:
        raise ValueError(
            f"{where}: expected a vector event (d,), got event_shape {tuple(event_shape)}; flatten the data."
        )
    return tuple(event_shape)
