"""What went wrong in a step whose numbers are not finite."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgmjax.training.gradient import Loss, make_gradient, named_losses
from dgmjax.training.partition import Arrays
from dgmjax.training.step import TrainState
from dgmjax.training.watch.nonfinite import find_nonfinite


def make_diagnosis(
    loss: Loss | Mapping[str, Loss],
    merge: Callable[[Arrays, Arrays], Any],
    *,
    key: jax.Array,
    operation: bool = False,
) -> Callable[[TrainState, int, Any], str]:
    """``(state, step, batch) -> text``: the first term that is not finite when that step is taken from ``state``.

    Terms are looked at in the order metrics, loss, gradients by name, their norm. ``batch`` is the whole batch of
    the step. Several losses are looked at one after the other, all with the parameters before the step.

    Args:
      loss: that of the step.
      merge: see `make_train_step`.
      key: that of the step.
      operation: also name the operation, with its layer and line, see `dgmjax.training.find_nonfinite`; this evaluates
        the step one operation at a time.
    """
    gradients = {
        name: make_gradient(part, merge, key=part_key, below=name)
        for name, part, part_key in named_losses(loss, key)
    }
    names: list[tuple[str, str]] = []  # set while tracing; a dict would come out sorted

    @jax.jit
    def terms(state: TrainState, step: jax.Array, batch: Any) -> list[jax.Array]:
        named: dict[tuple[str, str], jax.Array] = {}
        for part, gradient in gradients.items():
            found = gradient(state, step, batch)
            prefix = f"{part}_" if part else ""
            own = {prefix + name: jnp.asarray(total) for name, (total, _) in found.metrics.items()}
            own |= {f"{prefix}loss": found.value}
            own |= {f"the gradient of {name}": g for name, g in found.grads.items()}
            own[f"the norm of the gradients of {part}".removesuffix(" of ")] = optax.tree.norm(
                found.grads
            )
            named |= {(part, name): array for name, array in own.items()}
        names[:] = named
        return [jnp.isfinite(array).all() for array in named.values()]

    def diagnose(state: TrainState, step: int, batch: Any) -> str:
        index = jnp.asarray(step, jnp.int32)
        finite = jax.device_get(terms(state, index, batch))
        bad = [name for name, good in zip(names, finite, strict=True) if not good]
        if not bad:
            return "the update of the optimizer"  # nothing before it, from these parameters
        part, term = bad[0]
        if not operation:
            return term
        found = find_nonfinite(gradients[part], state, index, batch)
        return term if found is None else f"{term}. {str(found).removesuffix('.')}"

    return diagnose
