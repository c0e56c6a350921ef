"""What `fit` does with the user's arrays: check them, cast them, evaluate on them, tell them apart."""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgmjax.checks import floating_dtype
from dgmjax.data.checks import check_data
from dgmjax.training.metrics import merge_metrics
from dgmjax.training.partition import Arrays


def prepare(
    model: Any, x: ArrayLike, context: ArrayLike | None, name: str
) -> dict[str, np.ndarray]:
    """Check one split and give floats the dtype of the model."""
    levels = getattr(model, "num_levels", None)
    arrays = {"x": check_data(x, tuple(model.event_shape), num_levels=levels, name=name)}
    if context is None and getattr(model, "context_shape", None) is not None:
        option = "context" if name == "x" else f"{name}_context"
        raise ValueError(
            f"fit: the model is conditional; pass {option}=..., of shape [n, *{model.context_shape}]."
        )
    if context is not None:
        shape = getattr(model, "context_shape", None)
        if shape is None:
            raise ValueError(f"fit: a context was given for {name}, but the model takes none.")
        arrays["context"] = check_data(context, shape, name=f"context of {name}")
        if len(arrays["context"]) != len(arrays["x"]):
            raise ValueError(
                f"fit: {len(arrays['x'])} events in {name} but {len(arrays['context'])} contexts."
            )
    dtype = floating_dtype(model)
    return {
        key: array.astype(dtype)
        if key == "context" or np.issubdtype(array.dtype, np.floating)
        else array
        for key, array in arrays.items()
    }


def make_evaluator(
    eval_step: Callable[..., Any],
    arrays: dict[str, np.ndarray],
    key: jax.Array,
    *,
    chunk: int = 1_024,
) -> Callable[[Arrays, Arrays], dict[str, float]]:
    """Metrics over all of ``arrays``, with the same noise at every call, so that evaluations compare."""
    count = math.ceil(len(arrays["x"]) / chunk)
    chunks = [
        {name: array[i * chunk : (i + 1) * chunk] for name, array in arrays.items()}
        for i in range(count)
    ]

    def evaluate(params: Arrays, fixed: Arrays) -> dict[str, float]:
        return merge_metrics(
            eval_step(params, fixed, batch, jax.random.fold_in(key, i))
            for i, batch in enumerate(chunks)
        )

    return evaluate


def digest(tree: Any) -> str:
    """SHA-256 of a pytree of arrays: structure, shapes, dtypes and values."""
    digest = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        digest.update(f"{leaf.shape}{leaf.dtype}".encode() + leaf.tobytes())
    return digest.hexdigest()
