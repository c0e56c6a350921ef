"""The Sylvester flow: several ridge functions at once, along orthonormal directions."""

import jax
import jax.numpy as jnp

from dgmjax.bijectors.linear import householder_matrix
from dgmjax.bijectors.nonlinearity import Nonlinearity, NonlinearityName, nonlinearity
from dgmjax.bijectors.planar import planar_constrain
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.sharding import varying

# The inverse has to undo the same products: reduced precision on accelerators would break the round trip.
_PRECISION = jax.lax.Precision.HIGHEST


@compiled
def householder_columns(vectors: jax.Array, num_columns: int) -> jax.Array:
    """First columns of ``H_1 H_2 ... H_k``, ``H = I - 2 v v^T / |v|^2``: orthonormal for any nonzero ``v``.

    Args:
      vectors: ``[*batch, k, d]``, nonzero rows. ``k = num_columns`` reaches every orthonormal frame.
      num_columns: at most ``d``.

    Returns:
      ``[*batch, d, num_columns]``.

    Source: van den Berg et al., 2018, arXiv:1803.05649 (Householder Sylvester flows).
    """
    product = jnp.vectorize(householder_matrix, signature="(k,d)->(d,d)")(vectors)
    return product[..., :num_columns]


@compiled
def sylvester_triangles(
    matrix: jax.Array, diagonal: jax.Array, h: NonlinearityName | Nonlinearity = "tanh"
) -> tuple[jax.Array, jax.Array]:
    """Upper triangular ``R1, R2`` with ``r1_ii r2_ii > -1 / sup h'``, from unconstrained numbers.

    The strict upper triangle of ``matrix`` is that of ``R1``, the strict lower one, transposed, that of ``R2``, as
    in the authors' code. ``diagonal`` is ``r2_ii``, and ``r1_ii`` comes from the diagonal of ``matrix`` by
    `planar_constrain` in one dimension, so every permitted pair is reached.

    Args:
      matrix: ``[*batch, m, m]``.
      diagonal: ``[*batch, m]``.
      h: name in `NONLINEARITIES`, or a `Nonlinearity`.

    Returns:
      ``R1, R2``, each ``[*batch, m, m]``. A ``matrix`` whose upper triangle and diagonal are 0 gives ``R1 = 0``.

    Source: van den Berg et al., 2018, arXiv:1803.05649, theorem 2.
    """
    raw = jnp.diagonal(matrix, axis1=-2, axis2=-1)
    first = planar_constrain(raw[..., None], diagonal[..., None], h)[..., 0]
    r1 = jnp.triu(matrix, 1) + _diagonal_matrix(first)
    return r1, jnp.triu(jnp.swapaxes(matrix, -1, -2), 1) + _diagonal_matrix(diagonal)


@compiled
def sylvester_forward(
    z: jax.Array,
    q: jax.Array,
    r1: jax.Array,
    r2: jax.Array,
    b: jax.Array,
    h: NonlinearityName | Nonlinearity = "tanh",
) -> tuple[jax.Array, jax.Array]:
    """``x = z + Q R1 h(R2 Q^T z + b)``, ``log det = sum_i log(1 + r1_ii r2_ii h'(.)_i)``, latent to data.

    Args:
      z: latent, ``[*batch, d]``.
      q: orthonormal columns, ``[d, m]`` or, amortised, ``[*batch, d, m]``; see `householder_columns`.
      r1: upper triangular, ``[m, m]`` or ``[*batch, m, m]``; see `sylvester_triangles`.
      r2: upper triangular, ``[m, m]`` or ``[*batch, m, m]``.
      b: ``[m]`` or ``[*batch, m]``.
      h: name in `NONLINEARITIES`, or a `Nonlinearity`.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``, natural log.

    Source: van den Berg et al., 2018, *Sylvester normalizing flows for variational inference*, arXiv:1803.05649.
    """
    function = nonlinearity(h)
    y = _apply(r2, _apply_transposed(q, z))
    y = y + jnp.broadcast_to(b, y.shape)
    x = z + _apply(q, _apply(r1, function.fn(y)))
    return x, function.ridge_log_derivative(y, _slopes(r1, r2, y)).sum(-1)


@compiled
def sylvester_inverse(
    x: jax.Array,
    q: jax.Array,
    r1: jax.Array,
    r2: jax.Array,
    b: jax.Array,
    h: NonlinearityName | Nonlinearity = "tanh",
) -> tuple[jax.Array, jax.Array]:
    """``z = x - Q R1 h(y)``, with ``y = R2 Q^T z + b``: the inverse of `sylvester_forward`.

    ``Q^T x = Q^T z + R1 h(y)`` is triangular: from the last component to the first, with the later ones known,
    each is the root of an increasing function, ``y_i + r1_ii r2_ii h(y_i) = s_i``. Exact, ``m`` scalar solves.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``[*batch]``, natural log.
    """
    function = nonlinearity(h)
    v = _apply_transposed(q, x)
    *batch, units = v.shape
    b = jnp.broadcast_to(b, v.shape)
    r1, r2 = (jnp.broadcast_to(r, (*batch, units, units)) for r in (r1, r2))
    slopes = _slopes(r1, r2, v)

    def solve(
        known: tuple[jax.Array, jax.Array], row: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        projected, activated = known  # zero where not yet solved, so a whole row sums the solved
        here, row1, row2, v_i, b_i, slope = row
        right = v_i - (row1 * activated).sum(-1)
        r1_ii, r2_ii = (row1 * here).sum(-1), (row2 * here).sum(-1)
        y = function.ridge_inverse(r2_ii * right + (row2 * projected).sum(-1) + b_i, slope)
        value = function.fn(y)
        projected = projected + (right - r1_ii * value)[..., None] * here
        return (projected, activated + value[..., None] * here), y

    unit = jnp.broadcast_to(jnp.eye(units, dtype=v.dtype), (*batch, units, units))
    rows = tuple(
        jnp.moveaxis(a, axis, 0)
        for a, axis in ((unit, -2), (r1, -2), (r2, -2), (v, -1), (b, -1), (slopes, -1))
    )
    start = varying((jnp.zeros_like(v), jnp.zeros_like(v)), rows)
    (_, activated), y = jax.lax.scan(solve, start, rows, reverse=True)
    log_det = function.ridge_log_derivative(jnp.moveaxis(y, 0, -1), slopes).sum(-1)
    return x - _apply(q, _apply(r1, activated)), -log_det


def _slopes(r1: jax.Array, r2: jax.Array, like: jax.Array) -> jax.Array:
    """``r1_ii r2_ii``, broadcast to the shape of ``like``."""
    first, second = (jnp.diagonal(r, axis1=-2, axis2=-1) for r in (r1, r2))
    return jnp.broadcast_to(first, like.shape) * jnp.broadcast_to(second, like.shape)


def _diagonal_matrix(diagonal: jax.Array) -> jax.Array:
    size = diagonal.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(size, dtype=diagonal.dtype), (*diagonal.shape, size))
    return diagonal[..., None] * eye


def _apply(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.einsum("...ij,...j->...i", matrix, vector, precision=_PRECISION)


def _apply_transposed(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.einsum("...ij,...i->...j", matrix, vector, precision=_PRECISION)
