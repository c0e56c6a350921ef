"""Coupling of two parts of a vector, for any elementwise transformer.

``x_A = z_A`` and ``x_B = f(z_B; net(z_A))``, where A is where the mask is ``True``. The Jacobian is block
triangular, so its log-determinant is the sum of the elementwise log-derivatives of ``f``.

Source: Dinh et al., 2015, *NICE*, arXiv:1410.8516, section 3.2; Dinh et al., 2017, arXiv:1605.08803, section 3.2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.transformer import Transformer
from dgmjax.numerics import ends


def _stride(indices: np.ndarray) -> int | None:
    """The constant step of ``indices``, or None where it varies."""
    steps = np.unique(np.diff(indices))
    return 1 if indices.size == 1 else int(steps[0]) if steps.size == 1 else None


def split_by_mask(x: jax.Array, mask: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Split the last axis into the part where ``mask`` is ``True`` and the part where it is ``False``.

    The mask is concrete (NumPy), so a strided mask is two slices, whose gradient is a pad; the scatter-add that a
    gather would leave in the backward pass is slow.
    """

    def part(indices: np.ndarray) -> jax.Array:
        step = _stride(indices)
        if step is None:
            return jnp.take(x, indices, axis=-1, unique_indices=True, indices_are_sorted=True)
        return jax.lax.slice_in_dim(x, indices[0], indices[-1] + 1, step, axis=-1)

    return part(np.flatnonzero(mask)), part(np.flatnonzero(~mask))


def merge(kept: jax.Array, moved: jax.Array, mask: np.ndarray) -> jax.Array:
    """Inverse of `split`: interleave the two parts along the last axis."""
    kept_indices, moved_indices = np.flatnonzero(mask), np.flatnonzero(~mask)
    if kept_indices[-1] < moved_indices[0]:
        # The compiler sees that a part of this is the part that went in, and computes nothing of it twice.
        return jnp.concatenate([kept, moved], axis=-1)
    if moved_indices[-1] < kept_indices[0]:
        return jnp.concatenate([moved, kept], axis=-1)
    if _stride(kept_indices) is None or _stride(moved_indices) is None:
        order = np.argsort(np.concatenate([kept_indices, moved_indices]))
        both = jnp.concatenate([kept, moved], axis=-1)
        return jnp.take(both, order, axis=-1, unique_indices=True)

    def spread(part: jax.Array, indices: np.ndarray) -> jax.Array:
        step = _stride(indices)
        pads = [(0, 0, 0)] * (part.ndim - 1)
        pads.append((int(indices[0]), int(mask.size - 1 - indices[-1]), (step or 1) - 1))
        return jax.lax.pad(part, jnp.zeros((), part.dtype), pads)

    return spread(kept, kept_indices) + spread(moved, moved_indices)


def seen(x: jax.Array) -> jax.Array:
    """``x`` as a conditioner sees it: numbers up to ``2^28`` in float32, whose products in a network do not overflow.

    Both directions see the same, so the map stays invertible.
    """
    return ends.bounded(x, ends.largest(x.dtype, 0.25))


def coupling_forward(
    z: jax.Array,
    mask: np.ndarray,
    conditioner: Callable[[jax.Array], jax.Array],
    transformer: Transformer,
    *,
    swap: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """``x_A = z_A``, ``x_B = transformer.forward(z_B, conditioner(z_A))``.

    Args:
      z: latent, ``[*batch, d]``.
      mask: ``d`` booleans, NumPy; ``True`` passes through (part A).
      conditioner: ``[*batch, |A|] -> [*batch, |B|, transformer.num_params]``.
      transformer: the elementwise map, e.g. `dgmjax.bijectors.AffineTransformer`.
      swap: exchange the parts of ``z`` first; they must be of one size. Equal layers then alternate.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``, natural log.
    """
    kept, moved = split_by_mask(z, mask)
    if swap:
        kept, moved = moved, kept
    moved, log_derivative = transformer.forward(moved, conditioner(seen(kept)))
    return merge(kept, moved, mask), log_derivative.sum(-1)


def coupling_inverse(
    x: jax.Array,
    mask: np.ndarray,
    conditioner: Callable[[jax.Array], jax.Array],
    transformer: Transformer,
    *,
    swap: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """``z_A = x_A``, ``z_B = transformer.inverse(x_B, conditioner(x_A))``: the inverse of `coupling_forward`.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``[*batch]``, natural log.
    """
    kept, moved = split_by_mask(x, mask)
    moved, log_derivative = transformer.inverse(moved, conditioner(seen(kept)))
    if swap:
        kept, moved = moved, kept
    return merge(kept, moved, mask), log_derivative.sum(-1)
