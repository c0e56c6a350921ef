"""What a model sees of a batch: augmented, transformed, with classes as one-hot contexts."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from dgmjax.checks import as_context, floating_dtype
from dgmjax.numerics import prng
from dgmjax.objectives.likelihood import bound_of
from dgmjax.training.gradient import CompleteLoss, Loss, complete

Transform = Callable[[jax.Array, jax.Array], jax.Array]


Losses = TypeVar("Losses", Loss, Loss | Mapping[str, Loss])


def on_data(loss: Losses, transform: Transform | None, augment: Transform | None = None) -> Losses:
    """``loss`` on what the model is to see of a batch: augmented, transformed, classes as one-hot contexts."""
    if isinstance(loss, Mapping):
        return {name: on_data(part, transform, augment) for name, part in loss.items()}
    on_inputs = complete(loss)

    def seeing(model: Any, batch: Any, key: jax.Array, step: jax.Array | None = None) -> Any:
        for change in (augment, transform):
            if change is not None:
                key, change_key = prng.split(key)
                batch = batch | {"x": change(batch["x"], change_key)}
        return on_inputs(model, _cast(model, batch), key, step)

    return CompleteLoss(seeing, takes_step=True)


def with_data_init(
    model: Any, batch: dict[str, Any], key: jax.Array, *, transform: Transform | None = None
) -> Any:
    """``model`` with its data-dependent layers set from what it sees of ``batch``."""
    if not hasattr(model, "with_data_init"):
        return model
    batch = {name: jnp.asarray(array) for name, array in batch.items()}
    if transform is not None:
        keys = jax.random.split(jax.random.fold_in(key, 1), len(batch["x"]))
        batch["x"] = transform(batch["x"], keys)
    batch = _cast(model, batch)
    x, context = batch["x"], batch.get("context")
    if bound_of(model).is_noisy:
        return model.with_data_init(x, context, seed=key)
    return model.with_data_init(x, context)


def _cast(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Floats in the dtype of the model, contexts as it takes them."""
    dtype, x = floating_dtype(model), batch["x"]
    if jnp.issubdtype(x.dtype, jnp.floating):
        batch = batch | {"x": x.astype(dtype)}
    if "context" in batch:
        shape = tuple(model.context_shape)
        context = as_context(batch["context"], shape, x.shape[:1], where="fit", dtype=dtype)
        batch = batch | {"context": context}
    return batch
