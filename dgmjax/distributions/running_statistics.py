"""Running statistics of modules: whether there are any."""

from typing import Any

import jax
from flax import nnx


def has_statistics(model: Any) -> bool:
    """Whether anywhere in ``model`` are running statistics, ``nnx.BatchStat``."""
    return isinstance(model, nnx.Module) and bool(jax.tree.leaves(nnx.state(model, nnx.BatchStat)))
