"""What is checked, and with which shapes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.testing._tolerance import Tolerance


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is checked: the object, its side inputs, shapes and tolerance."""

    bijector: Any
    context: Any
    key: jax.Array | None
    batch: tuple[int, ...]
    event: tuple[int, ...]
    latent: tuple[int, ...]
    tolerance: Tolerance

    @property
    def size(self) -> int:
        return int(np.prod(self.batch))


def set_up(
    bijector: Any,
    x: jax.Array,
    context: Any,
    key: jax.Array | None,
    event_ndims: int | None,
    tolerance: Tolerance | None,
) -> Setup:
    """Resolves shapes and tolerance; refuses arguments that contradict each other."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"check_bijector: x must be floating, got {x.dtype}; cast the data first.")
    declared = getattr(bijector, "event_shape", None)
    if event_ndims is not None:
        ndims = event_ndims
    elif declared is not None:
        ndims = len(declared)
    else:
        raise ValueError(
            f"check_bijector: {type(bijector).__name__} has no event_shape; pass event_ndims="
        )
    if not 0 <= ndims <= x.ndim:
        raise ValueError(f"check_bijector: x {x.shape} cannot have {ndims} event axes.")
    batch, event = x.shape[: x.ndim - ndims], x.shape[x.ndim - ndims :]
    if declared is not None and tuple(declared) != event:
        raise ValueError(
            f"check_bijector: the last {ndims} axes of x {x.shape} are {event}, but "
            f"{type(bijector).__name__}.event_shape is {tuple(declared)}."
        )
    if x.size == 0:
        raise ValueError(f"check_bijector: x {x.shape} is empty; there is nothing to check.")
    for leaf in jax.tree.leaves(context):
        if jnp.shape(leaf)[: len(batch)] != batch:
            raise ValueError(
                f"check_bijector: context {jnp.shape(leaf)} must begin with the batch axes {batch} "
                "of x; broadcast it."
            )
    latent = getattr(bijector, "latent_shape", None)
    latent = event if latent is None else tuple(latent)
    if np.prod(latent) != np.prod(event):
        raise ValueError(
            f"check_bijector: latent_shape {latent} and event {event} differ in size; a bijector "
            "keeps the number of dimensions."
        )
    if tolerance is None:
        tolerance = Tolerance.for_dtype(x.dtype)
    return Setup(bijector, context, key, batch, event, latent, tolerance)
