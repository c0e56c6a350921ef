"""Coupling of the pixels of images: the parts are pixels, and the conditioner sees the image with holes.

For parts that are channels `dgmjax.bijectors.coupling_forward` does: its batch axes are then those of the batch and of
the image, and nothing is computed for channels that pass through.

Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.4, equation 9.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.coupling import seen
from dgmjax.bijectors.transformer import Transformer


def pixel_coupling_forward(
    z: jax.Array,
    mask: np.ndarray,
    conditioner: Callable[[jax.Array], jax.Array],
    transformer: Transformer,
) -> tuple[jax.Array, jax.Array]:
    """``x = b z + (1 - b) transformer.forward(z, conditioner(b z))`` with the mask ``b``.

    Args:
      z: latent images, ``[*batch, h, w, c]``.
      mask: booleans ``[h, w, 1]``, NumPy; ``True`` passes through.
      conditioner: ``[*batch, h, w, c] -> [*batch, h, w, c, transformer.num_params]``; it sees zeros where the mask is
        ``False``, and what it returns where the mask is ``True`` is not used.
      transformer: the elementwise map, finite at the value 0 with all parameters 0.

    Returns:
      ``x`` of shape ``[*batch, h, w, c]`` and the log-determinant of ``dx/dz``, ``[*batch]``, natural log: the sum of
      the log-derivatives where the mask is ``False``.

    Source: Dinh et al., 2017, arXiv:1605.08803, equation 9.
    """
    return _coupled(z, mask, conditioner, transformer.forward)


def pixel_coupling_inverse(
    x: jax.Array,
    mask: np.ndarray,
    conditioner: Callable[[jax.Array], jax.Array],
    transformer: Transformer,
) -> tuple[jax.Array, jax.Array]:
    """``z = b x + (1 - b) transformer.inverse(x, conditioner(b x))``: the inverse of `pixel_coupling_forward`.

    Returns:
      ``z`` of shape ``[*batch, h, w, c]`` and the log-determinant of ``dz/dx``, ``[*batch]``, natural log.
    """
    return _coupled(x, mask, conditioner, transformer.inverse)


def _coupled(
    value: jax.Array,
    mask: np.ndarray,
    conditioner: Callable[[jax.Array], jax.Array],
    transform: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
) -> tuple[jax.Array, jax.Array]:
    kept = jnp.asarray(np.broadcast_to(mask, value.shape[-3:]))
    zero = jnp.zeros((), value.dtype)

    def where(mask: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
        return jnp.where(jnp.broadcast_to(mask, jnp.broadcast_shapes(yes.shape, no.shape)), yes, no)

    params = conditioner(where(kept, seen(value), zero))
    # Zeros in place of what is not used: an overflow there would make the gradient of the selection NaN.
    params = where(kept[..., None], jnp.zeros((), params.dtype), params)
    moved, log_derivative = transform(where(kept, zero, value), params)
    log_det = where(kept, zero, log_derivative).sum((-3, -2, -1))
    return where(kept, value, moved), log_det
