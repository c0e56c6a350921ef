"""What went wrong in a step whose numbers are not finite."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgmjax.training.nonfinite import find_nonfinite
from dgmjax.training.partition import Arrays
from dgmjax.training.step import Loss, TrainState, make_gradient


def make_diagnosis(
    loss: Loss,
    merge: Callable[[Arrays, Arrays], Any],
    *,
    key: jax.Array,
    operation: bool = False,
) -> Callable[[TrainState, int, Any], str]:
    """``(state, step, batch) -> text``: the first term that is not finite when that step is taken from ``state``.

    Terms are looked at in the order metrics, loss, gradients by name, their norm. ``batch`` is the whole batch of
    the step.

    Args:
      loss: that of the step.
      merge: see `make_train_step`.
      key: that of the step.
      operation: also name the operation, with its layer and line, see `dgmjax.training.find_nonfinite`; this evaluates
        the step one operation at a time.
    """
    gradient = make_gradient(loss, merge, key=key)
    names: list[str] = []  # set while tracing; a dict would come out sorted

    @jax.jit
    def terms(state: TrainState, step: jax.Array, batch: Any) -> list[jax.Array]:
        (value, metrics), grads = gradient(state, step, batch)
        named = {name: jnp.asarray(total) for name, (total, _) in metrics.items()}
        named |= {"loss": value} | {f"the gradient of {name}": g for name, g in grads.items()}
        named["the norm of the gradients"] = optax.tree.norm(grads)
        names[:] = named
        return [jnp.isfinite(array).all() for array in named.values()]

    def diagnose(state: TrainState, step: int, batch: Any) -> str:
        index = jnp.asarray(step, jnp.int32)
        finite = jax.device_get(terms(state, index, batch))
        bad = [name for name, good in zip(names, finite, strict=True) if not good]
        if not bad:
            return "the update of the optimizer"  # nothing before it, from these parameters
        if not operation:
            return bad[0]
        found = find_nonfinite(gradient, state, index, batch)
        return bad[0] if found is None else f"{bad[0]}. {str(found).removesuffix('.')}"

    return diagnose
