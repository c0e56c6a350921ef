"""The invertible 1x1 convolution of Glow."""

from collections.abc import Sequence
from typing import Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.invertible_conv import (
    conv1x1,
    conv1x1_log_det,
    plu_inverse_matrix,
    principal_axes,
)
from dgmjax.bijectors.linear import PLU, plu_factors, plu_matrix
from dgmjax.checks import check_float_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded

Parametrization = Literal["plu", "dense"]
ConvInit = Literal["random", "principal"]


@recorded
class Invertible1x1Conv(Bijector):
    """``z = W x`` at every pixel, ``log |det dz/dx| = h w log |det W|``; W multiplies the data, as in Glow.

    Starts as a random orthogonal matrix (uniform over the orthogonal group), with log-determinant 0. Both directions
    are one product over all pixels; from latent to data it is with ``W^-1``, made once a call.

    Args:
      event_shape: ``(h, w, c)``.
      parametrization: ``"plu"``: ``W = P L (U + diag(s))``. L (unit lower triangular), U (strictly upper triangular)
        and ``log |s|`` are learned; the permutation P and the signs of ``s`` stay as they are.
        ``log |det W| = sum log |s|`` costs ``O(c)``, and W never becomes singular. ``"dense"``: W itself is learned,
        and ``log |det W|`` costs ``O(c^3)``.
      init: ``"random"``: the orthogonal matrix stays as it is drawn. ``"principal"``: `with_data_init` replaces it by
        the principal axes of the channels of a batch, the largest variance first, so that the latents are
        uncorrelated.
      rngs: ``nnx.Rngs`` for the initial matrix; not kept.

    Raises:
      ValueError: events that are no images, or an unknown parametrization.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.2, equations 9-11.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        parametrization: Parametrization = "plu",
        init: ConvInit = "random",
        rngs: nnx.Rngs,
    ):
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 3:
            raise ValueError(
                f"Invertible1x1Conv: expected image events (h, w, c), got event_shape {self.event_shape}; "
                f"dgmjax.PLULinear and dgmjax.DenseLinear are for vectors."
            )
        if parametrization not in ("plu", "dense"):
            raise ValueError(
                f"Invertible1x1Conv: parametrization: expected 'plu' or 'dense', got {parametrization!r}."
            )
        if init not in ("random", "principal"):
            raise ValueError(
                f"Invertible1x1Conv: init: expected 'random' or 'principal', got {init!r}."
            )
        self.parametrization = parametrization
        self.init = init
        rotation = jax.random.orthogonal(rngs.params(), self.event_shape[-1], dtype=jnp.float32)
        self._set(rotation)

    @property
    def depends_on_data(self) -> bool:
        """Whether it starts from principal axes."""
        return self.init == "principal"

    @property
    def matrix(self) -> jax.Array:
        """``W``, ``[c, c]``: ``z = W x``."""
        return self.weight[...] if self.parametrization == "dense" else plu_matrix(self._factors)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data, ``x = W^-1 z``."""
        if self.parametrization == "dense":
            inverse = jnp.linalg.inv(self.weight[...])
        else:
            inverse = plu_inverse_matrix(self._factors)
        return conv1x1(z, inverse), -conv1x1_log_det(self._log_abs_det, z)

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent, ``z = W x``."""
        return conv1x1(x, self.matrix), conv1x1_log_det(self._log_abs_det, x)

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """With ``init="principal"`` a new layer whose W has the principal axes of the pixels of ``x`` as its rows."""
        del context
        if not self.depends_on_data:
            return self
        check_float_event(x, self.event_shape, where="Invertible1x1Conv.with_data_init")
        new = nnx.clone(self)
        new._set(principal_axes(x.astype(self.matrix.dtype)))
        return new

    def _set(self, matrix: jax.Array) -> None:
        if self.parametrization == "dense":
            self.weight = nnx.Param(matrix)
            return
        plu = plu_factors(matrix)
        # Arrays, not structure: they depend on rngs, so a model that is loaded must restore them.
        self.permutation = nnx.data(plu.permutation)
        self.sign = nnx.data(plu.sign)
        self.lower = nnx.Param(plu.lower)
        self.upper = nnx.Param(plu.upper)
        self.log_scale = nnx.Param(plu.log_scale)

    @property
    def _factors(self) -> PLU:
        return PLU(
            self.permutation, self.sign, self.lower[...], self.upper[...], self.log_scale[...]
        )

    @property
    def _log_abs_det(self) -> jax.Array:
        if self.parametrization == "dense":
            return jnp.linalg.slogdet(self.weight[...])[1]
        return self.log_scale[...].sum()
