"""What a model sees of a batch: augmented, transformed, with classes as one-hot contexts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.checks import floating_dtype
from dgmjax.numerics import random
from dgmjax.objectives.likelihood import bound_of
from dgmjax.training.step import Loss

Transform = Callable[[jax.Array, jax.Array], jax.Array]


def on_data(loss: Loss, transform: Transform | None, augment: Transform | None = None) -> Loss:
    """``loss`` on what the model is to see of a batch: augmented, transformed, classes as one-hot contexts."""

    def seeing(model: Any, batch: Any, key: jax.Array) -> Any:
        for change in (augment, transform):
            if change is not None:
                key, change_key = random.split(key)
                batch = batch | {"x": change(batch["x"], change_key)}
        dtype = floating_dtype(model)
        if jnp.issubdtype(batch["x"].dtype, jnp.floating):
            batch = batch | {"x": batch["x"].astype(dtype)}
        if "context" in batch:
            shape = tuple(model.context_shape)
            batch = batch | {"context": as_context(batch["context"], shape, dtype)}
        return loss(model, batch, key)

    return seeing


def with_data_init(
    model: Any, batch: dict[str, Any], key: jax.Array, *, transform: Transform | None = None
) -> Any:
    """``model`` with its data-dependent layers set from what it sees of ``batch``."""
    if not hasattr(model, "with_data_init"):
        return model
    x = jnp.asarray(batch["x"])
    if transform is not None:
        x = transform(x, jax.random.split(jax.random.fold_in(key, 1), len(x)))
    dtype = floating_dtype(model)
    if jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(dtype)
    context = None
    if "context" in batch:
        context = as_context(jnp.asarray(batch["context"]), tuple(model.context_shape), dtype)
    if bound_of(model).kind == "lower bound":
        return model.with_data_init(x, context, seed=key)
    return model.with_data_init(x, context)


def as_context(context: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """``[n, *shape]`` floats; classes ``[n]`` become one-hot."""
    if jnp.issubdtype(context.dtype, jnp.integer) and context.ndim == len(shape) == 1:
        return jax.nn.one_hot(context, shape[0], dtype=dtype)
    return context.astype(dtype)
