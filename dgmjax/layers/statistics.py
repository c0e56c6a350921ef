"""Running statistics of densities: whether there are any, and likelihoods in training."""

from typing import Any

import jax
from flax import nnx


def has_statistics(model: Any) -> bool:
    """Whether anywhere in ``model`` are running statistics, ``nnx.BatchStat``."""
    return isinstance(model, nnx.Module) and bool(jax.tree.leaves(nnx.state(model, nnx.BatchStat)))


def log_prob_and_update(density: Any, *args: Any, **options: Any) -> tuple[jax.Array, Any]:
    """``density.log_prob`` as in training, and the new density; a density without such a part as it is.

    Batch statistics are in use and accumulated, see `dgmjax.layers.Bijector.inverse_and_update`. Arguments are those of
    ``density.log_prob``.
    """
    if hasattr(density, "log_prob_and_update"):
        return density.log_prob_and_update(*args, **options)
    return log_prob_as_it_is(density, *args, **options)


def log_prob_as_it_is(density: Any, *args: Any, **options: Any) -> tuple[jax.Array, Any]:
    """``density.log_prob`` with running statistics, and the same density."""
    return density.log_prob(*args, **options), density
