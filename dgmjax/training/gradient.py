"""Losses and their gradients: randomness of a step, parts of a batch, what a loss returns."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.numerics.compiled import inlined
from dgmjax.numerics.prng import example_keys
from dgmjax.objectives.maximum_likelihood import Metrics
from dgmjax.training.partition import Arrays, statistics_of

Loss = Callable[..., tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class CompleteLoss:
    """A loss that takes the step, and returns its value, metrics, and the new model or None."""

    loss: Loss
    takes_step: bool

    def __call__(
        self, model: Any, batch: Any, key: jax.Array, step: jax.Array | None = None
    ) -> tuple[jax.Array, Metrics, Any]:
        """That of the loss, without a step that it does not know."""
        options = {"step": step} if self.takes_step and step is not None else {}
        value, metrics, *rest = self.loss(model, batch, key, **options)
        return value, metrics, rest[0] if rest else None


def complete(loss: Loss) -> CompleteLoss:
    """``loss`` with all arguments and results, which it may leave out; its signature is looked at here only."""
    if isinstance(loss, CompleteLoss):
        return loss
    return CompleteLoss(loss, "step" in inspect.signature(loss).parameters)


class Gradient(NamedTuple):
    """What `make_gradient` computes.

    Attributes:
      value: the loss.
      metrics: pairs (sum, count) by name.
      statistics: the running statistics after the step, by name; empty unless the loss returns a model.
      grads: of the loss, for the parameters it trains.
    """

    value: jax.Array
    metrics: Metrics
    statistics: Arrays
    grads: Arrays


def make_gradient(
    loss: Loss,
    merge: Callable[[Arrays, Arrays], Any],
    *,
    key: jax.Array,
    accumulate: int = 1,
    below: str = "",
) -> Callable[..., Gradient]:
    """``(state, step, batch, shard=0) -> Gradient`` with the randomness of that step.

    With ``accumulate`` parts the batch is cut into so many, taken one after the other: the mean of their means, which
    is that of the batch, in the activation memory of one part. Running statistics go from part to part.

    Args:
      loss: see `dgmjax.training.make_train_step`.
      merge: puts a model together from ``state.params`` and ``state.fixed``.
      key: base key.
      accumulate: number of parts.
      below: name of the attribute whose parameters are trained, the others held; all for ``""``.
    """
    complete_loss = complete(loss)

    def gradient(
        state: Any, step: jax.Array, batch: Any, *, shard: int | jax.Array = 0
    ) -> Gradient:
        keys = batch_keys(jax.random.fold_in(key, step), batch, shard=shard)
        own = params_below(state.params, below)

        def objective(own: Arrays, statistics: Arrays, batch: Any, keys: jax.Array) -> Any:
            model = merge(state.params | own, state.fixed | statistics)
            with inlined():
                value, metrics, model = complete_loss(model, batch, keys, step)
            return value, (metrics, {} if model is None else statistics_of(model))

        def one(statistics: Arrays, batch: Any, keys: jax.Array) -> Gradient:
            differentiate = jax.value_and_grad(objective, has_aux=True)
            (value, (metrics, new)), grads = differentiate(own, statistics, batch, keys)
            return Gradient(value, metrics, new, grads)

        if accumulate == 1 or keys.ndim == 0:
            return one({}, batch, keys)
        # Every k-th row goes to the same part, so that a device finds all its rows at home.
        parts = jax.tree.map(
            lambda rows: rows.reshape(-1, accumulate, *rows.shape[1:]).swapaxes(0, 1), (batch, keys)
        )
        shapes = jax.eval_shape(one, {}, *jax.tree.map(lambda rows: rows[0], parts))
        start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        start = start._replace(statistics={name: state.fixed[name] for name in shapes.statistics})

        def add(total: Gradient, part: tuple[Any, jax.Array]) -> tuple[Gradient, None]:
            found = one(total.statistics, *part)
            return jax.tree.map(jnp.add, total, found)._replace(statistics=found.statistics), None

        total, _ = jax.lax.scan(add, start, parts)
        value, grads = jax.tree.map(lambda leaf: leaf / accumulate, (total.value, total.grads))
        return total._replace(value=value, grads=grads)

    return gradient


def named_losses(
    loss: Loss | Mapping[str, Loss], key: jax.Array
) -> list[tuple[str, Loss, jax.Array]]:
    """Name, loss and base key of each part of a step; the name of a single loss is empty."""
    losses = loss if isinstance(loss, Mapping) else {"": loss}
    return [
        (name, part, jax.random.fold_in(key, index) if index else key)
        for index, (name, part) in enumerate(losses.items())
    ]


def params_below(params: Arrays, name: str) -> Arrays:
    """The parameters of the attribute ``name`` of a model; all for ``""``.

    Raises:
      ValueError: there are none.
    """
    found = {path: leaf for path, leaf in params.items() if not name or path.startswith(f"{name}/")}
    if params and not found:
        known = sorted({path.split("/")[0] for path in params})
        raise ValueError(
            f"loss: the model has no parameters below {name!r}; those it has are below {', '.join(known)}."
        )
    return found


def batch_keys(key: jax.Array, batch: Any, *, shard: int | jax.Array = 0) -> jax.Array:
    """A key for each row of ``batch``, of which earlier shards have as many; ``key`` itself for an empty batch."""
    leaves = jax.tree.leaves(batch)
    if not leaves:
        return key
    rows = len(leaves[0])
    return example_keys(key, rows, start=shard * rows)
