"""Invertible 1x1 convolutions: one linear map of the channels, ``W``, at every pixel.

As in Glow, and unlike in `dgmjax.bijectors.linear`, W multiplies the data: training then needs no inverse. Images have
many more pixels than channels, so the ``c x c`` matrix is made, or inverted, once a call, and all pixels of all images
go through one product; triangular solves would work on every pixel.

Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.2.
"""

import math

import jax
import jax.numpy as jnp

from dgmjax.bijectors.linear import PLU, plu_triangles
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.moments import moments
from dgmjax.numerics.triangular import solve_triangular


@compiled
def conv1x1(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """``y = W x`` at every pixel, ``[*batch, h, w, c] -> [*batch, h, w, c]``, as one product at the highest precision.

    Args:
      x: images ``[*batch, h, w, c]``.
      matrix: ``W``, ``[c, c]``.
    """
    return jnp.matmul(x, matrix.T, precision=jax.lax.Precision.HIGHEST)


@compiled
def conv1x1_log_det(log_abs_det: jax.Array, image: jax.Array) -> jax.Array:
    """``h w log |det W|`` for each of the images ``[*batch, h, w, c]``, of shape ``[*batch]``.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, equation 9.
    """
    *batch, height, width, _ = image.shape
    return jnp.broadcast_to(height * width * log_abs_det, batch)


def plu_inverse_matrix(plu: PLU) -> jax.Array:
    """``W^-1 = (U + diag(s))^-1 L^-1 P^T`` of shape ``[c, c]`` by two triangular solves, ``O(c^3)``."""
    lower, upper = plu_triangles(plu)
    # Fixed arrays may be narrower than the parameters.
    columns = solve_triangular(lower, plu.permutation.T.astype(lower.dtype), lower=True)
    return solve_triangular(upper, columns, lower=False)


@compiled
def principal_axes(x: jax.Array) -> jax.Array:
    """Orthogonal ``W`` whose rows are the eigenvectors of the covariance of the channels, largest variance first.

    The channels of ``W x`` are uncorrelated on the batch. The largest entry of every row is positive, so the result
    does not depend on the signs an eigensolver happens to choose.

    Args:
      x: images ``[*batch, h, w, c]``; all pixels count.

    Returns:
      ``W``, ``[c, c]``.
    """
    pixels = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    # In units of the largest number, since squares may overflow or vanish; the axes do not depend on it.
    largest = jnp.abs(pixels).max()
    pixels = pixels / jnp.where(largest > 0, largest, jnp.ones_like(largest))
    centred = pixels - jnp.broadcast_to(moments(pixels)[0], pixels.shape)
    covariance = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / len(pixels)
    rows = jnp.linalg.eigh(covariance)[1].T[::-1]
    largest = jnp.take_along_axis(rows, jnp.abs(rows).argmax(1, keepdims=True), 1)
    return rows * jnp.broadcast_to(jnp.sign(largest), rows.shape)
