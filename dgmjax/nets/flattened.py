"""Networks of vectors, applied to events of any shape."""

import math
from collections.abc import Callable, Sequence

import jax
from flax import nnx

from dgmjax.checks import batch_shape
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled


class Flattened(Module):
    """``net(x.reshape(n))``: ``[*batch, *event] -> [*batch, *net.out_shape]``.

    Args:
      net: of vectors, ``[*batch, n] -> [*batch, *out_shape]``, with the keyword ``key``; e.g. a `dgmjax.nets.MLP` or a
        `dgmjax.nets.GatedMLP`.
      event_shape: shape of one event, of ``n`` elements.

    Raises:
      ValueError: an input whose last axes are not the event.
    """

    def __init__(self, net: Callable[..., jax.Array], event_shape: Sequence[int]):
        self.net = nnx.data(net)
        self.event_shape = tuple(event_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output of one example."""
        return tuple(self.net.out_shape)  # type: ignore[attr-defined]

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Apply the network; ``key``, one or one an example, switches dropout on."""
        batch = batch_shape(x, self.event_shape, where="Flattened")
        return self.net(x.reshape(*batch, math.prod(self.event_shape)), key=key)
