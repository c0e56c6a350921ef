"""Many layers of one kind as a scan: compile time and, if wanted, memory that do not grow with the depth."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import ends, prng
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.loop_dtype import steady
from dgmjax.numerics.reversible import reversible_scan
from dgmjax.numerics.sharding import varying

Module = TypeVar("Module", bound=nnx.Module)


@recorded
class Stack(Bijector):
    """``Chain(layers)`` for layers that differ in their arrays only, run as one ``jax.lax.scan``.

    The arrays of the layers are stacked along a new first axis. Tracing and compiling cost those of one layer,
    whatever the depth. As in `dgmjax.Chain` the list reads from data to latent.

    Args:
      layers: at least one bijector; all of one class, with equal settings and shapes, from an event to the same event.
      reversible: gradients by rebuilding the activations with the inverses of the layers (`reversible_scan`):
        activation memory is that of one layer, for about one more forward pass of time.
      remat: gradients by storing each layer's input and recomputing what is inside, `jax.checkpoint`.
      anchor_every: with ``reversible``, store the exact activation after every so many layers and rebuild from there,
        so that rounding cannot add up over the whole depth; divides the number of layers.

    Raises:
      ValueError: no layers, layers that differ in more than their arrays, both ways of saving memory, or anchors that
        do not fit.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> stack = dgm.Stack([dgm.ActNorm((2,)) for _ in range(8)], reversible=True)
      >>> stack.forward_and_log_det(jnp.ones((3, 2)))[0].shape
      (3, 2)
    """

    reach = "any"
    is_stack = True

    def __init__(
        self,
        layers: Sequence[Bijector],
        *,
        reversible: bool = False,
        remat: bool = False,
        anchor_every: int | None = None,
    ):
        layers = list(layers)
        if not layers:
            raise ValueError("Stack: expected at least one layer, got none.")
        if reversible and remat:
            raise ValueError(
                "Stack: choose reversible or remat; a reversible stack stores nothing."
            )
        if anchor_every is not None and (
            not reversible or anchor_every < 1 or len(layers) % anchor_every
        ):
            raise ValueError(
                f"Stack: anchor_every is for reversible stacks and divides the number of layers, {len(layers)}; got "
                f"{anchor_every} with reversible={reversible}."
            )
        first = layers[0]
        if first.latent_shape != first.event_shape:
            raise ValueError(
                f"Stack: {type(first).__name__} maps latents {first.latent_shape} to events {first.event_shape}; "
                f"only layers that keep the shape can be stacked."
            )
        self.layer = stacked(
            layers,
            where="Stack",
            what="layer",
            otherwise=" Alternating layers go in pairs, Stack([Chain([a, b]), Chain([a, b]), ...]); else use Chain.",
        )
        self.num_layers = len(layers)
        self.reversible = reversible
        self.remat = remat
        self.anchor_every = anchor_every
        self.event_shape = first.event_shape
        self.context_shape = first.context_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether the layers do."""
        return self.layer.depends_on_data

    @property
    def layers(self) -> list[Bijector]:
        """The single layers, from data to latent."""
        return [jax.tree.map(lambda a, k=k: a[k], self.layer) for k in range(self.num_layers)]

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Apply the layers from last to first."""
        return self._run("forward", "inverse", z, context, key, reverse=True)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Apply the inverses from first to last."""
        return self._run("inverse", "forward", x, context, key, reverse=False)

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Initialise layer after layer, each from the data as its predecessors leave it, in one scan."""
        if not self.depends_on_data:
            return self
        return self._with(_initialised(self.layer, x, context))

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the stack of the new layers; with the memory of `inverse_and_log_det`.

        Batch statistics are accumulated by the forward pass alone, once, also where the gradient runs layers again.
        """
        z, log_det, *states = self._run(
            "update", "forward_in_training", x, context, key, reverse=False
        )
        new = nnx.clone(self)
        paths = _paths(self.layer) if self.reversible else [()]
        for path, state in zip(paths, states[0], strict=True):
            nnx.update(_at(new.layer, path), state)
        return z, log_det, new

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`, from the last layer to the first."""
        rule = _rule("forward_in_training")
        steps, shared = (jnp.arange(self.num_layers), self.layer), (context, key)
        z, _ = jax.lax.scan(lambda z, step: (rule(step, z, shared), None), z, steps, reverse=True)
        return z

    def _with(self, layer: Bijector) -> Self:
        new = nnx.clone(self)
        new.layer = layer
        return new

    def _run(
        self, direction: str, back: str, value: jax.Array, context: Any, key: Any, *, reverse: bool
    ) -> tuple[Any, ...]:
        steps, shared = (jnp.arange(self.num_layers), self.layer), (context, key)
        if self.reversible:
            paths = _paths(self.layer)
            paths = paths[::-1] if reverse else paths
            return reversible_scan(
                [_rule(direction, path) for path in paths],
                [_rule(back, path, value_only=True) for path in paths],
                steps,
                value,
                shared,
                reverse=reverse,
                anchor_every=self.anchor_every,
                has_aux=direction == "update",
            )
        apply = _rule(direction)

        def body(value: jax.Array, step: Any) -> tuple[jax.Array, Any]:
            value, *rest = apply(step, value, shared)
            return value, rest

        body = jax.checkpoint(body) if self.remat else body
        value, steps, shared = varying((value, steps, shared))
        first = jax.tree.map(lambda leaf: leaf[0], steps)
        value = steady(lambda value: jax.eval_shape(body, value, first)[0], value, steps, shared)
        value, (log_dets, *states) = jax.lax.scan(body, value, steps, reverse=reverse)
        return value, log_dets.sum(0), *([states] if states else [])


@compiled
def _initialised(stacked: Bijector, x: jax.Array, context: jax.Array | None) -> Bijector:
    """Layer after layer initialised from the data as its predecessors leave it."""

    def body(x: jax.Array, layer: Bijector) -> tuple[jax.Array, Bijector]:
        layer = layer.with_data_init(x, context)
        return layer.inverse(x, context), layer

    return jax.lax.scan(body, x, stacked)[1]


def stacked(modules: Sequence[Module], *, where: str, what: str, otherwise: str = "") -> Module:
    """Stack ``modules``: a module whose arrays are theirs along a new first axis.

    Args:
      modules: at least one; all of one class, with equal settings and shapes.
      where: who asks, for messages.
      what: name of one of them there.
      otherwise: end of the message.

    Raises:
      ValueError: they differ in more than their arrays.
    """
    structure: Any = jax.tree.structure(modules[0])
    shapes = [leaf.shape for leaf in jax.tree.leaves(modules[0])]
    first = type(modules[0]).__name__
    for index, module in enumerate(modules):
        same = jax.tree.structure(module) == structure
        if not same or [leaf.shape for leaf in jax.tree.leaves(module)] != shapes:
            raise ValueError(
                f"{where}: {what} {index} ({type(module).__name__}) and {what} 0 ({first}) differ in more than their "
                f"arrays: class, constructor arguments, masks and shapes must be equal.{otherwise}"
            )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *modules)


def _paths(layer: Bijector) -> list[tuple[int, ...]]:
    """Where the layers of nested chains are, from data to latent; ``[()]`` for a layer that is no chain."""
    if not isinstance(layer, Chain):
        return [()]
    return [(index, *rest) for index, inner in enumerate(layer.layers) for rest in _paths(inner)]


def _at(layer: Any, path: tuple[int, ...]) -> Bijector:
    """The layer at ``path`` of nested chains."""
    return functools.reduce(lambda layer, index: layer.layers[index], path, layer)


# Functions of (index, layer), so that the scan hands each layer its own key; kept, since they are compared by identity.
@functools.cache
def _rule(
    direction: str, path: tuple[int, ...] = (), *, value_only: bool = False
) -> Callable[[Any, jax.Array, Any], Any]:
    """``(step, value, shared)`` to what the layer at ``path`` of the step makes of the value.

    The directions ``"forward"`` and ``"inverse"`` give the value and the log-determinant, ``"update"`` also the state
    of the layer after `Bijector.inverse_and_update`: all of its arrays but the parameters.
    """
    method = {
        "forward": "forward_and_log_det",
        "inverse": "inverse_and_log_det",
        "update": "inverse_and_update",
    }.get(direction, direction)

    def rule(step: Any, value: jax.Array, shared: Any) -> Any:
        (index, layer), (context, key) = step, shared
        key = prng.fold_in(key, index)
        for inner in path:
            layer, key = layer.layers[inner], prng.fold_in(key, inner)
        result = getattr(layer, method)(value, context, key=key)
        if direction == "update":
            z, log_det, new = result
            return z, log_det, nnx.state(new, nnx.Not(nnx.Param))
        if not value_only:
            return result
        value = result[0] if isinstance(result, tuple) else result
        # An event that overflowed cannot be rebuilt. Its gradient is zero, at a finite activation only.
        shape = layer.latent_shape if direction == "inverse" else layer.event_shape
        return ends.within(value, len(shape))[0]

    return rule
