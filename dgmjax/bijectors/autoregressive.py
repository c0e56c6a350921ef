"""Masked autoregressive maps of a vector: MADE's masks, the parallel direction and the incremental sequential one.

``z_i = f^-1(x_i; h_i(x_<i))`` for every ``i`` at once from data, and ``x_i = f(z_i; h_i(x_<i))`` one after the other
from latents. The Jacobian is triangular, so the log-determinant is the sum of elementwise log-derivatives.

Source: Germain et al., 2015, *MADE*, arXiv:1502.03509, section 4; Papamakarios et al., 2017, *Masked autoregressive
flow*, arXiv:1705.07057, section 3.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.coupling import Transformer


class Degrees(NamedTuple):
    """The order of a MADE.

    Attributes:
      order: ``order[r]`` is the element that comes ``r``-th; a permutation of ``0 .. d - 1``.
      hidden: degree of every hidden unit, ascending: a unit of degree ``r`` sees the first ``r`` elements only.
    """

    order: np.ndarray
    hidden: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """``rank[i]``: the place of element ``i`` in the order."""
        return np.argsort(self.order)


def made_degrees(order: Sequence[int] | np.ndarray, width: int, *, context: bool) -> Degrees:
    """Degrees of a MADE with hidden layers of ``width`` units, spread evenly.

    With a context some units have degree 0 and see the context only, so that the first element depends on it.

    Raises:
      ValueError: ``order`` is no permutation, or there are too few units.
    """
    order = np.asarray(order)
    size = order.size
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(size)):
        raise ValueError(f"order: expected a permutation of 0 .. {size - 1}, got {order.tolist()}.")
    low = 0 if context or size == 1 else 1
    hidden = low + np.sort(np.arange(width) % max(size - low, 1))
    return Degrees(order, hidden)


def made_masks(degrees: Degrees, num_hidden_layers: int, num_params: int) -> list[np.ndarray]:
    """Masks ``[in, out]`` of the kernels, input to output; output ``[d * num_params]`` keeps an element's together."""
    rank, hidden = degrees.rank, degrees.hidden
    first = hidden[None, :] > rank[:, None]
    between = hidden[None, :] >= hidden[:, None]
    last = np.repeat(rank[None, :] >= hidden[:, None], num_params, axis=1)
    return [first, *[between] * (num_hidden_layers - 1), last]


def sequential_forward(
    z: jax.Array,
    kernels: Sequence[jax.Array],
    offsets: Sequence[jax.Array],
    degrees: Degrees,
    activation: Callable[[jax.Array], jax.Array],
    transformer: Transformer,
) -> tuple[jax.Array, jax.Array]:
    """``x_i = f(z_i; h_i(x_<i))`` in the order of ``degrees``: latent to data.

    Incremental: step ``r`` evaluates only the hidden units whose degree becomes available with it and adds what they
    send on to running sums, so ``d`` steps cost one pass of the network, not ``d``.

    Args:
      z: latents ``[*batch, d]``.
      kernels: masked kernels ``[in, out]``, input to output.
      offsets: what is added after each kernel, ``[*batch, out]`` or ``[out]``: bias, and context in the first.
      degrees: the order.
      activation: between the layers.
      transformer: the elementwise map ``f``.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``.
    """
    batch, size = z.shape[:-1], z.shape[-1]
    blocks = _blocks(degrees.hidden, size)
    sums = [jnp.broadcast_to(o, (*batch, o.shape[-1])) for o in offsets]
    # Outputs in the order in which they are needed: [*batch, rank, num_params].
    sums[-1] = jnp.take(sums[-1].reshape(*batch, size, -1), degrees.order, axis=-2)
    num_params = sums[-1].shape[-1]
    last = kernels[-1].reshape(-1, size, num_params)
    last = jnp.take(last, degrees.order, axis=1).reshape(-1, size * num_params)
    sums[-1] = sums[-1].reshape(*batch, size * num_params)
    rows = (
        jnp.take(jnp.moveaxis(z, -1, 0), degrees.order, axis=0),
        jnp.take(kernels[0], degrees.order, axis=0),
        [_pad_rows(kernel, blocks) for kernel in [*kernels[1:-1], last]],
        blocks,
        jnp.arange(size),
    )

    def step(sums: list[jax.Array], row: tuple) -> tuple[list[jax.Array], tuple]:
        z_r, kernel_r, kernel_blocks, units, r = row
        for layer, kernel in enumerate(kernel_blocks):
            hidden = activation(jnp.take(sums[layer], units, axis=-1, mode="clip"))
            sums[layer + 1] = sums[layer + 1] + hidden @ kernel
        params = jax.lax.dynamic_slice_in_dim(sums[-1], r * num_params, num_params, axis=-1)
        x_r, log_derivative = transformer.forward(z_r, params)
        sums[0] = sums[0] + x_r[..., None] * kernel_r.reshape((1,) * x_r.ndim + kernel_r.shape)
        return sums, (x_r, log_derivative)

    _, (x, log_derivative) = jax.lax.scan(step, sums, rows)
    x = jnp.moveaxis(jnp.take(x, degrees.rank, axis=0), 0, -1)
    return x, log_derivative.sum(0)


def _blocks(hidden: np.ndarray, size: int) -> np.ndarray:
    """Units of degree ``r`` in row ``r``, padded with the index one past the last unit."""
    units = [np.flatnonzero(hidden == r) for r in range(size)]
    width = max(len(row) for row in units)
    table = np.full((size, max(width, 1)), hidden.size)
    for r, row in enumerate(units):
        table[r, : len(row)] = row
    return table


def _pad_rows(kernel: jax.Array, blocks: np.ndarray) -> jax.Array:
    """Rows of the units of every block, zeros for the padding: ``[d, block, out]``."""
    padded = jnp.concatenate([kernel, jnp.zeros((1, kernel.shape[1]), kernel.dtype)])
    return jnp.take(padded, blocks, axis=0)
