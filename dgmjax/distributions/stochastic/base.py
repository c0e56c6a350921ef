"""The contract of maps between data and latents that may be stochastic in either direction."""

from typing import Any, Literal, Self

import chex
import jax
from flax import nnx

from dgmjax.checks import (
    as_context,
    check_integer_event,
    float_event,
    floating_dtype,
    own_dtype,
    widened,
)
from dgmjax.layers.bijector import Bijector, Reach, within_reach
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.summary import Module
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled

MapKind = Literal["bijective", "inference surjection", "generative surjection", "stochastic"]


class StochasticMap(Module):
    """A layer ``x ~ p(x | z)``, ``z ~ q(z | x)``: what bijectors, surjections and autoencoders have in common.

    ``log p(x) = E_q [log p(z) + V(x, z)] + E(x)`` with the likelihood contribution ``V`` and the gap ``E >= 0`` of the
    bound:

    ===========================  =====================  =====================  ===============================  =======
    kind                         data to latent         latent to data         contribution ``V``               ``E``
    ===========================  =====================  =====================  ===============================  =======
    ``"bijective"``              ``z = f^-1(x)``        ``x = f(z)``           ``log |det dz/dx|``              0
    ``"inference surjection"``   ``z = f(x)``           ``x ~ p(x | z)``       ``log p(x | z)``                 0
    ``"generative surjection"``  ``z ~ q(z | x)``       ``x = f(z)``           ``-log q(z | x)``                >= 0
    ``"stochastic"``             ``z ~ q(z | x)``       ``x ~ p(x | z)``       ``log p(x | z) - log q(z | x)``  >= 0
    ===========================  =====================  =====================  ===============================  =======

    where the densities of a surjection are over what its deterministic direction loses. Contributions of layers in a
    row add, so kinds mix freely; the sum is exact if every layer is, and a lower bound on average otherwise. The table
    also says what separates a flow from a variational autoencoder, whose two directions have parameters of their own;
    a bijector's are the same.

    A subclass sets ``event_shape`` and ``kind`` and implements::

        _encode(x, context, seed, key) -> (z, contribution)
        _decode(z, context, seed) -> x

    for values ``[*batch, *event]``; the public methods check shapes, dtype, context and seed while tracing. A bijector
    becomes such a map with `as_stochastic_map`.

    Events that a map cannot take contribute ``-inf``, those with a NaN contribute NaN, as in `dgmjax.Bijector`.

    Attributes:
      event_shape: shape of one event on the data side.
      context_shape: shape of one context, or None; a map without one ignores the context of its neighbours.
      reach: see `dgmjax.Bijector`.

    Source: Nielsen et al., 2020, *SurVAE flows*, arXiv:2007.02731, table 1 and algorithm 1.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    reach: Reach = "half"

    @property
    def kind(self) -> MapKind:
        """Which row of the table."""
        raise NotImplementedError(f"{type(self).__name__} has no kind.")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one event on the latent side."""
        return self.event_shape

    @property
    def num_levels(self) -> int | None:
        """Levels of discrete data, integers ``0 .. num_levels - 1``; None for continuous data."""
        return None

    @property
    def exact(self) -> bool:
        """Whether the contribution is a number and not a sample: data determine their latent, and ``E = 0``."""
        return self.kind in ("bijective", "inference surjection")

    @property
    def generates_deterministically(self) -> bool:
        """Whether latents determine their data."""
        return self.kind in ("bijective", "generative surjection")

    @compiled
    def encode(
        self,
        x: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Inference, data to latent: ``[*batch, *event]`` to ``z`` and the contribution ``V``, ``[*batch]``, nats.

        Args:
          x: events: floating point, or integers for a map that has ``num_levels``.
          context: ``[*batch, *context_shape]`` or one row, for a conditional map.
          seed: key of the sample of ``q(z | x)``; one, or one an example. Not needed if the map is exact.
          key: switches dropout on; leave it out to evaluate.

        Raises:
          TypeError: integers where floats are needed, or the reverse.
          ValueError: wrong event or context shape, or no ``seed`` where one is needed.
        """
        where = f"{type(self).__name__}.encode"
        x, context, batch, verdict = self._data(x, context, seed, where)
        with jax.named_scope(where):
            z, contribution = self._encode(x, context, seed, key)
        chex.assert_shape([z, contribution], [(*batch, *self.latent_shape), batch])
        return z, widened(_judged(contribution, verdict))

    @compiled
    def encode_and_update(
        self,
        x: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, Self]:
        """`encode` as in training, and the new map: batch statistics in use and accumulated."""
        where = f"{type(self).__name__}.encode_and_update"
        x, context, batch, verdict = self._data(x, context, seed, where)
        with jax.named_scope(where):
            z, contribution, new = self._encode_and_update(x, context, seed, key)
        chex.assert_shape([z, contribution], [(*batch, *self.latent_shape), batch])
        return z, widened(_judged(contribution, verdict)), new

    @compiled
    def decode(
        self,
        z: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
    ) -> jax.Array:
        """Generation, latent to data: ``[*batch, *latent] -> [*batch, *event]``.

        Args:
          z: latents, floating point.
          context: as in `encode`.
          seed: key of the sample of ``p(x | z)``; one, or one an example. Not needed where ``z`` determines ``x``.

        Raises:
          TypeError: integer latents.
          ValueError: wrong latent or context shape, or no ``seed`` where one is needed.
        """
        where = f"{type(self).__name__}.decode"
        z, batch = float_event(z, self.latent_shape, where=where, dtype=own_dtype(self))
        needs_seed = not self.generates_deterministically
        context = self._check(context, batch, seed, needs_seed=needs_seed, where=where)
        with jax.named_scope(where):
            x = self._decode(z, context, seed)
        chex.assert_shape(x, (*batch, *self.event_shape))
        return x

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """A new map whose data-dependent parts are set from the batch ``x``; itself, where there are none."""
        del x, context, seed
        return self

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        raise NotImplementedError

    def _encode_and_update(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """`_encode`, and the map itself: for a map without running statistics."""
        return *self._encode(x, context, seed, key), self

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        raise NotImplementedError

    def _data(
        self, x: jax.Array, context: jax.Array | None, seed: Any, where: str
    ) -> tuple[jax.Array, jax.Array | None, tuple[int, ...], jax.Array | None]:
        """Events and context as the map takes them, the batch axes, and the verdict on events beyond its reach."""
        verdict = None
        if self.num_levels is None:
            x, batch = float_event(x, self.event_shape, where=where, dtype=own_dtype(self))
        else:
            batch = check_integer_event(x, self.event_shape, where=where)
        context = self._check(context, batch, seed, needs_seed=not self.exact, where=where)
        if self.num_levels is None and self.reach != "any":
            x, verdict = within_reach(self, x)
        return x, context, batch, verdict

    def _check(
        self,
        context: jax.Array | None,
        batch: tuple[int, ...],
        seed: jax.Array | None,
        *,
        needs_seed: bool,
        where: str,
    ) -> jax.Array | None:
        """The context as the map takes it."""
        if needs_seed and seed is None:
            raise ValueError(f"{where} draws noise; pass seed=jax.random.key(...).")
        if self.context_shape is None:
            return context
        dtype = floating_dtype(self)
        return as_context(context, self.context_shape, batch, where=where, dtype=dtype)


@recorded
class Bijective(StochasticMap):
    """A bijector as a `StochasticMap`: both directions deterministic, the contribution ``log |det dz/dx|``.

    Args:
      layer: any `dgmjax.Bijector`.
    """

    kind: MapKind = "bijective"
    reach = "any"

    def __init__(self, layer: Bijector):
        self.layer = layer
        self.event_shape = tuple(layer.event_shape)
        self.context_shape = layer.context_shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """That of the bijector."""
        return tuple(self.layer.latent_shape)

    def with_data_init(
        self, x: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """A new map with the bijector set from the batch ``x``."""
        del seed
        new = nnx.clone(self)
        new.layer = self.layer.with_data_init(x, context)
        return new

    def _encode(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        return self.layer.inverse_and_log_det(x, context, key=key)

    def _encode_and_update(
        self, x: jax.Array, context: jax.Array | None, seed: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, Self]:
        z, log_det, layer = self.layer.inverse_and_update(x, context, key=key)
        new = nnx.clone(self)
        new.layer = layer
        return z, log_det, new

    def _decode(self, z: jax.Array, context: jax.Array | None, seed: Any) -> jax.Array:
        return self.layer.forward(z, context)


def as_stochastic_map(layer: Bijector | StochasticMap) -> StochasticMap:
    """``layer`` itself if it is a `StochasticMap`, a bijector as `Bijective`."""
    return layer if isinstance(layer, StochasticMap) else Bijective(layer)


def _judged(contribution: jax.Array, verdict: jax.Array | None) -> jax.Array:
    return contribution if verdict is None else ends.judged(contribution, verdict)
