"""Changes to modules under test: parameters away from their start, another precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def scramble(module: Any, key: jax.Array, *, scale: float = 0.2) -> Any:
    """The module with normal noise added to every parameter.

    At initialization many layers are the identity, since their last kernels are zero: laws hold there whatever the
    code does.

    Args:
      module: any Flax module; what is not trained stays.
      key: one key.
      scale: standard deviation of the noise.
    """
    split: Any = nnx.split(module, nnx.Param, ...)
    graphdef, params, rest = split
    leaves, tree = jax.tree.flatten_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    # NumPy, since JAX would compile a generator and an addition for every shape.
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    moved = [jnp.zeros(())] * len(leaves)
    for index in sorted(range(len(names)), key=names.__getitem__):
        values = np.asarray(leaves[index][1])
        noise = scale * random.normal(size=values.shape)
        moved[index] = jnp.asarray((values + noise).astype(values.dtype))
    return nnx.merge(graphdef, jax.tree.unflatten(tree, moved), rest)


def cast(tree: Any, dtype: Any) -> Any:
    """The module or pytree with all its floating-point arrays in another precision."""
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(np.asarray(leaf).astype(dtype))
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
        ),
        tree,
    )
