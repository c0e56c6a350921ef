"""Helpers of several entries for layers and models: precision, dense Jacobians."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import dgmjax as dgm
from experiments.reproduce.entry import Check, Context, at_most
from experiments.settings.config import Config

KEY = jax.random.key(0)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Where the checklist has a tolerance that float32 cannot meet."""
    with jax.enable_x64(True):  # noqa: FBT003
        yield


def distance(a: jax.Array, b: jax.Array) -> float:
    """The largest difference."""
    return float(jnp.abs(a - b).max())


def dense_log_det(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``log |det|`` of the whole Jacobian of a function of one event, at every row: ``[n]``."""
    jacobian = jax.vmap(jax.jacfwd(function))(x)
    return jnp.linalg.slogdet(jacobian.reshape(len(x), x[0].size, -1))[1]


def round_trip(layer: dgm.Bijector, x: jax.Array, tolerance: float = 1e-4) -> list[Check]:
    """The inverse, and the log-determinant against that of the dense Jacobian."""
    z, log_det = layer.inverse_and_log_det(x)
    back = layer.forward(z)
    dense = dense_log_det(lambda one: layer.inverse(one).ravel(), x)
    return [
        at_most("largest error of the round trip", distance(back, x), tolerance),
        at_most("largest error of the log-determinant", distance(log_det, dense), tolerance),
    ]


def digits_vae(
    context: Context, label: str = "", **changes: Any
) -> tuple[Any, dict[str, Any], Config]:
    """A run of ``vae_digits`` with changes of its model, as `Context.trained`; with ``--quick`` of a smaller one.

    The small one serves what has to hold for any VAE; what has to be well trained is checked in full size only.
    """
    small = {"width": 64, "num_components": 3} if context.quick else {}
    name = "_".join(part for part in ("small" if context.quick else "", label) if part)
    return context.trained("vae_digits", steps=250, label=name, **(small | changes))
