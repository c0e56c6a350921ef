"""Linear layers for vectors: ``x = W z + b``, where W multiplies the latent (see `dgmjax.bijectors.linear`)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.affine import affine_forward, affine_inverse
from dgmjax.bijectors.linear import (
    PLU,
    cayley_matrix,
    householder_matrix,
    linear_forward,
    linear_inverse,
    orthogonal_forward,
    orthogonal_inverse,
    plu_factors,
    plu_forward,
    plu_inverse,
)
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded


@recorded
class DenseLinear(Bijector):
    """``x = W z + b`` with any matrix W; ``log |det W|`` and the inverse cost ``O(d^3)`` a call.

    Starts as a random orthogonal matrix (uniform over the orthogonal group), with log-determinant 0. Nothing keeps
    W from becoming singular but the likelihood, which goes to minus infinity there.

    Args:
      event_shape: ``(d,)``.
      rngs: ``nnx.Rngs`` for the initial matrix; not kept.

    Raises:
      ValueError: event of another rank than 1.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, equation 9; there W multiplies the data.
    """

    def __init__(self, event_shape: Sequence[int], *, rngs: nnx.Rngs):
        self.event_shape = _vector(event_shape, "DenseLinear")
        self.matrix = nnx.Param(_random_orthogonal(self.event_shape, rngs))
        self.bias = nnx.Param(jnp.zeros(self.event_shape, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return linear_forward(z, self.matrix[...], self.bias[...])

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return linear_inverse(x, self.matrix[...], self.bias[...])


@recorded
class PLULinear(Bijector):
    """``x = P L (U + diag(s)) z + b``; ``log |det W| = sum log |s|`` costs ``O(d)``, the inverse two triangular solves.

    Starts as a random orthogonal matrix, decomposed. L (unit lower triangular), U (strictly upper triangular) and
    ``log |s|`` are learned; the permutation matrix P and the signs of ``s`` are data and stay as they are, so the sign
    of ``det W`` never changes and W never becomes singular.

    Args:
      event_shape: ``(d,)``.
      rngs: ``nnx.Rngs`` for the initial matrix; not kept.

    Raises:
      ValueError: event of another rank than 1.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, equations 10 and 11; there W multiplies the data.
    """

    def __init__(self, event_shape: Sequence[int], *, rngs: nnx.Rngs):
        self.event_shape = _vector(event_shape, "PLULinear")
        plu = plu_factors(_random_orthogonal(self.event_shape, rngs))
        # Arrays, not structure: they depend on rngs, so a model that is loaded must restore them.
        self.permutation = nnx.data(plu.permutation)
        self.sign = nnx.data(plu.sign)
        self.lower = nnx.Param(plu.lower)
        self.upper = nnx.Param(plu.upper)
        self.log_scale = nnx.Param(plu.log_scale)
        self.bias = nnx.Param(jnp.zeros(self.event_shape, jnp.float32))

    @property
    def factors(self) -> PLU:
        """The factors of W, for `dgmjax.bijectors.plu_matrix`."""
        return PLU(
            self.permutation, self.sign, self.lower[...], self.upper[...], self.log_scale[...]
        )

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return plu_forward(z, self.factors, self.bias[...])

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return plu_inverse(x, self.factors, self.bias[...])


@recorded
class HouseholderLinear(Bijector):
    """``x = H_1 ... H_k z + b`` with reflections ``H_i = I - 2 v_i v_i^T / (v_i^T v_i)``; the log-determinant is 0.

    Args:
      event_shape: ``(d,)``.
      num_reflections: ``k``; None for ``d``, which reaches every orthogonal matrix of determinant ``(-1)^d``.
      rngs: ``nnx.Rngs`` for the initial vectors; not kept.

    Raises:
      ValueError: event of another rank than 1, or fewer than one reflection.

    Source: Tomczak and Welling, 2016, arXiv:1611.09630.
    """

    def __init__(
        self, event_shape: Sequence[int], *, num_reflections: int | None = None, rngs: nnx.Rngs
    ):
        self.event_shape = _vector(event_shape, "HouseholderLinear")
        count = self.event_shape[0] if num_reflections is None else num_reflections
        if count < 1:
            raise ValueError(f"HouseholderLinear: expected num_reflections >= 1, got {count}.")
        vectors = jax.random.normal(rngs.params(), (count, *self.event_shape), jnp.float32)
        self.vectors = nnx.Param(vectors)
        self.bias = nnx.Param(jnp.zeros(self.event_shape, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return orthogonal_forward(z, householder_matrix(self.vectors[...]), self.bias[...])

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return orthogonal_inverse(x, householder_matrix(self.vectors[...]), self.bias[...])


@recorded
class OrthogonalLinear(Bijector):
    """``x = (I + A)^-1 (I - A) z + b`` with a skew matrix A (Cayley transform); the log-determinant is 0.

    A rotation: unlike `HouseholderLinear` it can start at, and come back to, the identity.

    Args:
      event_shape: ``(d,)``.
      rngs: ``nnx.Rngs`` for the initial rotation; not kept.

    Raises:
      ValueError: event of another rank than 1.

    Source: Helfrich et al., 2018, arXiv:1707.09520, section 3.
    """

    def __init__(self, event_shape: Sequence[int], *, rngs: nnx.Rngs):
        self.event_shape = _vector(event_shape, "OrthogonalLinear")
        size = self.event_shape[0]
        # Eigenvalues of A of order 1 spread those of the rotation over the circle.
        raw = jax.random.normal(rngs.params(), (size, size), jnp.float32) / size**0.5
        self.raw = nnx.Param(raw)
        self.bias = nnx.Param(jnp.zeros(self.event_shape, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return orthogonal_forward(z, cayley_matrix(self.raw[...]), self.bias[...])

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return orthogonal_inverse(x, cayley_matrix(self.raw[...]), self.bias[...])


@recorded
class DiagonalLinear(Bijector):
    """``x = exp(log_scale) * z``, elementwise, with learned log-scales; ``log |det dx/dz| = sum log_scale``.

    Starts as the identity. NICE puts it at the latent end of additive couplings, which cannot change volumes.

    Args:
      event_shape: shape of one event, any rank.

    Source: Dinh et al., 2015, *NICE*, arXiv:1410.8516, section 3.3; its ``S_ii`` multiplies the data, so
      ``log_scale = -log S_ii``.
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int]):
        self.event_shape = tuple(event_shape)
        self.log_scale = nnx.Param(jnp.zeros(self.event_shape, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = affine_forward(z, jnp.zeros_like(z), self.log_scale[...])
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = affine_inverse(x, jnp.zeros_like(x), self.log_scale[...])
        return z, log_derivative.sum(event_axes(self.event_shape))


def _vector(event_shape: Sequence[int], name: str) -> tuple[int, ...]:
    if len(event_shape) != 1:
        raise ValueError(
            f"{name}: expected a vector event (d,), got event_shape {tuple(event_shape)}; flatten the data."
        )
    return tuple(event_shape)


def _random_orthogonal(event_shape: tuple[int, ...], rngs: nnx.Rngs) -> jax.Array:
    return jax.random.orthogonal(rngs.params(), event_shape[0], dtype=jnp.float32)
