"""What the elementwise densities do with their arguments."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def broadcast_arguments(x: jax.Array, *parameters: ArrayLike) -> list[jax.Array]:
    """All arguments in the dtype of ``x`` and one shape; Python scalars take part."""
    arrays = [x, *(jnp.asarray(a, x.dtype) if np.ndim(a) == 0 else a for a in parameters)]
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    return [jnp.broadcast_to(a, shape) for a in arrays]
