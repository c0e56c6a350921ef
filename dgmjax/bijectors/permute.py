"""Permutations of the last axis."""

import jax
import jax.numpy as jnp
import numpy as np


def permute_forward(z: jax.Array, permutation: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """``x_i = z_{permutation[i]}`` along the last axis, latent to data.

    Args:
      z: latent, ``[*batch, d]``.
      permutation: the integers ``0 .. d - 1`` in any order, NumPy.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``: exactly 0, since the
      Jacobian is a permutation matrix, whose determinant is +1 or -1.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.2 (reversed and shuffled channels).
    """
    return _take(z, permutation), jnp.zeros(z.shape[:-1], z.dtype)


def permute_inverse(x: jax.Array, permutation: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """``z_{permutation[i]} = x_i`` along the last axis, data to latent: the inverse of `permute_forward`.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``[*batch]``: exactly 0.
    """
    return _take(x, np.argsort(permutation)), jnp.zeros(x.shape[:-1], x.dtype)


def _take(value: jax.Array, indices: np.ndarray) -> jax.Array:
    # The gradient of a reversal is a reversal; the scatter-add that a gather would leave there is slow.
    if np.array_equal(indices, np.arange(indices.size)[::-1]):
        return jnp.flip(value, axis=-1)
    return jnp.take(value, indices, axis=-1, unique_indices=True)
