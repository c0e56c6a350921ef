"""Masked autoregressive maps of a vector: the parallel direction and the incremental sequential one.

``z_i = f^-1(x_i; h_i(x_<i))`` for every ``i`` at once from data, and ``x_i = f(z_i; h_i(x_<i))`` one after the other
from latents. The Jacobian is triangular, so the log-determinant is the sum of elementwise log-derivatives.

Source: Germain et al., 2015, *MADE*, arXiv:1502.03509, section 4; Papamakarios et al., 2017, *Masked autoregressive
flow*, arXiv:1705.07057, section 3.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.coupling import seen
from dgmjax.bijectors.made_masks import Degrees
from dgmjax.bijectors.transformer import Transformer
from dgmjax.numerics import ends
from dgmjax.numerics.fixed_point import residual_fixed_point
from dgmjax.numerics.sharding import varying


def sequential_forward(
    z: jax.Array,
    kernels: Sequence[jax.Array],
    offsets: Sequence[jax.Array],
    degrees: Degrees,
    activation: Callable[[jax.Array], jax.Array],
    transformer: Transformer,
    *,
    compute_dtype: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """``x_i = f(z_i; h_i(x_<i))`` in the order of ``degrees``: latent to data.

    Incremental: hidden units are sorted by degree, and step ``r`` evaluates only those whose degree becomes available
    with it, so ``d`` steps cost about one pass of the network, not ``d``.

    Args:
      z: latents ``[*batch, d]``.
      kernels: masked kernels ``[in, out]``, input to output.
      offsets: what is added after each kernel, ``[*batch, out]`` or ``[out]``: bias, and context in the first.
      degrees: the order.
      activation: between the layers.
      transformer: the elementwise map ``f``.
      compute_dtype: of the network, and so of ``kernels`` and ``offsets``; None for that of ``z``.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``.
    """
    dtype = z.dtype if compute_dtype is None else jnp.dtype(compute_dtype)
    batch, size = z.shape[:-1], z.shape[-1]
    num_params = kernels[-1].shape[1] // size
    starts, width = _blocks(degrees.hidden, size)
    # Columns are events and rows are units, so that a step writes whole rows. Elements and outputs come in order.
    first = jnp.take(kernels[0], degrees.order, axis=0)
    last = jnp.take(kernels[-1].reshape(-1, size, num_params), degrees.order, axis=1)
    last = last.reshape(-1, size * num_params)
    # Hidden units are kept with `width` rows to spare, so every kernel that reads them has zeros there.
    rows = [_pad(first.T, width, 0), *(_pad(k.T, width, width) for k in kernels[1:-1])]
    last = _pad(last.T, 0, width)
    columns = [_columns(offset, batch) for offset in offsets]
    last_offset = columns.pop()
    events = last_offset.shape[-1]
    last_offset = last_offset.reshape(size, num_params, events)
    last_offset = jnp.take(last_offset, degrees.order, axis=0).reshape(size * num_params, events)
    columns = [_pad(column, width, 0) for column in columns]
    z_rows = jnp.take(z.reshape(math.prod(batch), size).T, degrees.order, axis=0)

    def rows_at(table: jax.Array, start: jax.Array, count: int) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(table, start, count, axis=0)

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, jax.Array]:
        x, hidden = carry
        r, start, z_r = inputs
        known, updated = seen(x).astype(dtype), []
        for row, column, units in zip(rows, columns, hidden, strict=True):
            block = rows_at(row, start, width) @ known
            block = activation(block + jnp.broadcast_to(rows_at(column, start, width), block.shape))
            known = jax.lax.dynamic_update_slice_in_dim(units, block, start, axis=0)
            updated.append(known)
        params = rows_at(last, r * num_params, num_params) @ known
        offset = rows_at(last_offset, r * num_params, num_params)
        params = params + jnp.broadcast_to(offset, params.shape)
        x_r, log_derivative = transformer.forward(z_r, params.T.astype(z.dtype))
        x = jax.lax.dynamic_update_slice_in_dim(x, x_r[None], r, axis=0)
        return (x, updated), log_derivative

    units = jnp.zeros((degrees.hidden.size + width, z_rows.shape[1]), dtype)
    initial = jnp.zeros_like(z_rows), [units] * len(rows)
    initial = varying(initial, z, kernels, offsets)
    (x, _), log_derivative = jax.lax.scan(step, initial, (np.arange(size), starts, z_rows))
    x = jnp.take(x, degrees.rank, axis=0).T.reshape(z.shape)
    return x, log_derivative.sum(0).reshape(batch)


def jacobi_forward(
    conditioner: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    z: jax.Array,
    transformer: Transformer,
    *,
    tolerance: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """``x_i = f(z_i; h_i(x_<i))`` for all ``i`` at once, repeated until nothing changes: latent to data.

    Iteration ``k`` makes the first ``k`` elements of the order exact, so it ends after at most ``d`` passes of the
    network, and much earlier where elements depend weakly on each other: worth trying where ``d`` is large and the
    device parallel. Gradients come from the implicit function theorem.

    Args:
      conditioner: ``(params, x) -> [*batch, d, transformer.num_params]``, autoregressive in any order. It keys a cache
        of compiled loops, so pass the same object every time.
      params: pytree of arrays; what ``conditioner`` does not get through it has no gradient.
      z: latents ``[*batch, d]``.
      transformer: the elementwise map ``f``.
      tolerance: relative size of the change that ends it; by default it goes on until nothing changes, since where
        elements amplify each other a small change may grow again.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``.

    Source: Song et al., 2021, *Accelerating feedforward computation via parallel nonlinear equation solving*,
    arXiv:2002.03629, algorithm 1.
    """
    branch = _jacobi_branch(conditioner, transformer)
    bound = ends.largest(z.dtype, 0.5)
    x = residual_fixed_point(
        branch,
        (params, z),
        jnp.zeros_like(z),
        tolerance=tolerance,
        contracts=False,
        max_iterations=z.shape[-1] + 2,  # d to be exact, one to see it, one for the rounding
    )
    log_det = -transformer.inverse(x, conditioner(params, seen(x)))[1].sum(-1)
    x = jnp.where(x >= bound, jnp.asarray(jnp.inf, x.dtype), x)
    return jnp.where(x <= -bound, jnp.asarray(-jnp.inf, x.dtype), x), log_det


@functools.cache
def _jacobi_branch(
    conditioner: Callable[[Any, jax.Array], jax.Array], transformer: Transformer
) -> Callable[[jax.Array, Any], jax.Array]:
    """``g`` of the equation ``x + g(x) = 0``."""

    def branch(x: jax.Array, params_and_z: Any) -> jax.Array:
        params, z = params_and_z
        # What overflows is not found by iteration; a number that stands for it is.
        x = transformer.forward(z, conditioner(params, seen(x)))[0]
        return -ends.bounded(x, ends.largest(x.dtype, 0.5))

    return branch


def _blocks(hidden: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """Where the units of each degree start, and the largest number of units of one degree.

    A step evaluates that many units from its start on. Some may be of the next degree and not ready: their values are
    multiplied by masked zeros only, and are written again when they are ready.
    """
    starts = np.searchsorted(hidden, np.arange(size))
    ends = np.searchsorted(hidden, np.arange(size), side="right")
    return starts, max(int((ends - starts).max()), 1)


def _pad(table: jax.Array, rows: int, columns: int) -> jax.Array:
    """Zeros below and to the right."""
    return jnp.pad(table, ((0, rows), (0, columns)))


def _columns(offset: jax.Array, batch: tuple[int, ...]) -> jax.Array:
    """``[*batch, units]`` or ``[units]`` to ``[units, events]``, with one event where all share it."""
    if offset.ndim > 1:
        offset = jnp.broadcast_to(offset, (*batch, offset.shape[-1]))
    return offset.reshape(math.prod(offset.shape[:-1]), offset.shape[-1]).T
