"""Linear maps of vectors, ``x = W z + b``: W multiplies the latent, in the direction latent to data.

Glow's equation 9 has its matrix multiply the data (``z = W x``), so Glow's matrix is the inverse of the one here;
`dgmjax.layers.Inverse` turns a layer around. The families of W below differ in the cost of ``log |det W|`` and of the
inverse. All products are taken at the highest precision: an inverse cannot make up for digits lost in the forward map.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.numerics.compiled import compiled


@compiled
def linear_forward(z: jax.Array, matrix: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x = W z + b``, ``log |det dx/dz| = log |det W|`` by LU decomposition, ``O(d^3)``.

    Args:
      z: latent, ``[*batch, d]``.
      matrix: ``W``, ``[d, d]``, not singular.
      bias: ``b``, ``[d]``.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``[*batch]``, natural log.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, equation 9, with one pixel.
    """
    x = _multiply(z, matrix) + jnp.broadcast_to(bias, z.shape)
    return x, _every_event(jnp.linalg.slogdet(matrix)[1], z)


@compiled
def linear_inverse(x: jax.Array, matrix: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``z = W^-1 (x - b)`` by solving, the inverse of `linear_forward`.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``[*batch]``: ``-log |det W|``.
    """
    columns = (x - jnp.broadcast_to(bias, x.shape)).reshape(math.prod(x.shape[:-1]), x.shape[-1]).T
    z = jnp.linalg.solve(matrix, columns).T.reshape(x.shape)
    return z, _every_event(-jnp.linalg.slogdet(matrix)[1], x)


@compiled
def orthogonal_forward(
    z: jax.Array, matrix: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``x = Q z + b`` with an orthogonal ``Q``; the log-determinant is exactly 0.

    Args:
      z: latent, ``[*batch, d]``.
      matrix: ``Q``, ``[d, d]``, e.g. from `householder_matrix` or `cayley_matrix`.
      bias: ``b``, ``[d]``.

    Returns:
      ``x`` of shape ``[*batch, d]`` and zeros of shape ``[*batch]``.
    """
    x = _multiply(z, matrix) + jnp.broadcast_to(bias, z.shape)
    return x, jnp.zeros(z.shape[:-1], z.dtype)


@compiled
def orthogonal_inverse(
    x: jax.Array, matrix: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``z = Q^T (x - b)``, the inverse of `orthogonal_forward`; the log-determinant is exactly 0."""
    z = _multiply(x - jnp.broadcast_to(bias, x.shape), matrix.T)
    return z, jnp.zeros(x.shape[:-1], x.dtype)


@compiled
def householder_matrix(vectors: jax.Array) -> jax.Array:
    """``Q = H_1 H_2 ... H_k`` with the reflections ``H_i = I - 2 v_i v_i^T / (v_i^T v_i)``; ``det Q = (-1)^k``.

    Computed in one piece as ``Q = I - V^T S^-1 V``, where V has the rows ``v_i`` and S is the upper triangle of
    ``V V^T`` with half its diagonal.

    Args:
      vectors: ``V``, ``[k, d]``; no row may be zero. Their lengths do not matter.

    Returns:
      ``Q`` of shape ``[d, d]``; ``k = d`` reflections reach every orthogonal matrix of determinant ``(-1)^d``.

    Source: Tomczak and Welling, 2016, *Improving variational auto-encoders using Householder flow*,
      arXiv:1611.09630; the product in one piece: Joffrain et al., 2006, *Accumulating Householder transformations,
      revisited*, ACM TOMS 32.
    """
    v = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    gram = jnp.matmul(v, v.T, precision=jax.lax.Precision.HIGHEST)
    # The diagonal of the Gram matrix of unit vectors is 1; its computed value would add rounding.
    system = jnp.triu(gram, 1) + 0.5 * jnp.eye(len(v), dtype=v.dtype)
    solved = jax.scipy.linalg.solve_triangular(system, v)
    product = jnp.matmul(v.T, solved, precision=jax.lax.Precision.HIGHEST)
    return jnp.eye(v.shape[-1], dtype=v.dtype) - product


@compiled
def cayley_matrix(raw: jax.Array) -> jax.Array:
    """``Q = (I + A)^-1 (I - A)`` with the skew matrix ``A = L - L^T``, L the strictly lower triangle of ``raw``.

    Args:
      raw: ``[d, d]``; entries on and above the diagonal are ignored. Zero gives the identity.

    Returns:
      ``Q`` of shape ``[d, d]``, a rotation (``det Q = 1``); every rotation without the eigenvalue -1 is reached.

    Source: Helfrich et al., 2018, *Orthogonal recurrent neural networks with scaled Cayley transform*,
      arXiv:1707.09520, section 3.
    """
    lower = jnp.tril(raw, -1)
    skew, eye = lower - lower.T, jnp.eye(len(raw), dtype=raw.dtype)
    return jnp.linalg.solve(eye + skew, eye - skew)


class PLU(NamedTuple):
    """The factors of ``W = P L (U + diag(sign exp(log_scale)))``.

    Attributes:
      permutation: ``P``, a permutation matrix ``[d, d]``; fixed.
      sign: signs of the diagonal, ``[d]``; fixed.
      lower: ``[d, d]``, of which the strictly lower triangle is that of L, whose diagonal is 1.
      upper: ``[d, d]``, of which the strictly upper triangle is U.
      log_scale: natural log of the absolute diagonal, ``[d]``.
    """

    permutation: jax.Array
    sign: jax.Array
    lower: jax.Array
    upper: jax.Array
    log_scale: jax.Array


def plu_factors(matrix: jax.Array) -> PLU:
    """The factors of ``matrix``, ``[d, d]``, not singular, by LU decomposition with partial pivoting."""
    permutation, lower, upper = jax.scipy.linalg.lu(matrix)
    scale = jnp.diag(upper)
    return PLU(
        permutation=permutation,
        sign=jnp.sign(scale),
        lower=jnp.tril(lower, -1),
        upper=jnp.triu(upper, 1),
        log_scale=jnp.log(jnp.abs(scale)),
    )


def plu_matrix(plu: PLU) -> jax.Array:
    """``W = P L (U + diag(sign exp(log_scale)))`` of shape ``[d, d]``, the inverse of `plu_factors`.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, equation 10.
    """
    lower, upper = plu_triangles(plu)
    return jnp.linalg.multi_dot(
        [plu.permutation, lower, upper], precision=jax.lax.Precision.HIGHEST
    )


@compiled
def plu_forward(z: jax.Array, plu: PLU, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x = P L (U + diag(s)) z + b`` with ``s = sign exp(log_scale)``, one factor after the other.

    Args:
      z: latent, ``[*batch, d]``.
      plu: the factors of W.
      bias: ``b``, ``[d]``.

    Returns:
      ``x`` of shape ``[*batch, d]`` and the log-determinant of ``dx/dz``, ``sum log |s|``, ``[*batch]``. It costs
      ``O(d)``; the map itself stays ``O(d^2)`` an event in both directions.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, equations 10 and 11.
    """
    lower, upper = plu_triangles(plu)
    x = _multiply(_multiply(_multiply(z, upper), lower), plu.permutation)
    return x + jnp.broadcast_to(bias, z.shape), _every_event(plu.log_scale.sum(), z)


@compiled
def plu_inverse(x: jax.Array, plu: PLU, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``z = (U + diag(s))^-1 L^-1 P^T (x - b)`` by two triangular solves, the inverse of `plu_forward`.

    Returns:
      ``z`` of shape ``[*batch, d]`` and the log-determinant of ``dz/dx``, ``-sum log |s|``, ``[*batch]``.
    """
    lower, upper = plu_triangles(plu)
    y = _multiply(x - jnp.broadcast_to(bias, x.shape), plu.permutation.T)
    columns = y.reshape(math.prod(x.shape[:-1]), x.shape[-1]).T
    columns = jax.scipy.linalg.solve_triangular(lower, columns, lower=True, unit_diagonal=True)
    columns = jax.scipy.linalg.solve_triangular(upper, columns)
    return columns.T.reshape(x.shape), _every_event(-plu.log_scale.sum(), x)


def plu_triangles(plu: PLU) -> tuple[jax.Array, jax.Array]:
    """``L`` with its diagonal of 1, and ``U + diag(s)``."""
    lower = jnp.tril(plu.lower, -1) + jnp.eye(len(plu.lower), dtype=plu.lower.dtype)
    return lower, jnp.triu(plu.upper, 1) + jnp.diag(plu.sign * jnp.exp(plu.log_scale))


def _multiply(z: jax.Array, matrix: jax.Array) -> jax.Array:
    """``W z`` for every event of ``z``."""
    return jnp.matmul(z, matrix.T, precision=jax.lax.Precision.HIGHEST)


def _every_event(log_det: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.broadcast_to(log_det, value.shape[:-1])
