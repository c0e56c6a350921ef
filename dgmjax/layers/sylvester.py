"""The Sylvester layer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.nonlinearity import Nonlinearity, NonlinearityName, nonlinearity
from dgmjax.bijectors.sylvester import (
    householder_columns,
    sylvester_forward,
    sylvester_inverse,
    sylvester_triangles,
)
from dgmjax.layers.amortized import AmortizedParameters, MakeConditioner, vector_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Sylvester(Bijector):
    """``x = z + Q R1 h(R2 Q^T z + b)``: ``m`` planar flows in one; starts as the identity.

    ``Q`` is the first ``m`` columns of a product of Householder reflections, ``R1, R2`` are upper triangular. The
    published formula is ``forward``; ``inverse`` solves ``m`` scalar equations, the last component first. With a
    context the parameters are a base plus the output of a network (amortised).

    Args:
      event_shape: ``(d,)``.
      num_units: ``m``, at most ``d``; default ``d``.
      num_reflections: reflections in ``Q``; default ``num_units``, which reaches every orthonormal frame.
      h: ``"tanh"``, ``"sigmoid"``, ``"softplus"``, ``"leaky_relu"``, or a `dgmjax.bijectors.Nonlinearity`.
      context_shape: ``(c,)`` for a conditional layer, or None.
      make_conditioner: ``make_conditioner(c, (n,))`` returns ``net(context, key=None)``, with
        ``n = num_reflections d + m^2 + 2 m``; given exactly when ``context_shape`` is.
      rngs: ``nnx.Rngs`` for the initial directions.

    Raises:
      ValueError: event or context of another rank than 1, ``num_units`` outside ``1 .. d``, no reflection, unknown
        ``h``, or a context without a network.

    Source: van den Berg et al., 2018, arXiv:1803.05649.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_units: int | None = None,
        num_reflections: int | None = None,
        h: NonlinearityName | Nonlinearity = "tanh",
        context_shape: Sequence[int] | None = None,
        make_conditioner: MakeConditioner | None = None,
        rngs: nnx.Rngs,
    ):
        self.event_shape = vector_event(event_shape, where="Sylvester")
        nonlinearity(h)
        (size,) = self.event_shape
        units = size if num_units is None else num_units
        reflections = units if num_reflections is None else num_reflections
        if not 1 <= units <= size or reflections < 1:
            raise ValueError(
                f"Sylvester: expected num_units in 1 .. {size} (the event) and num_reflections >= 1, got {units} "
                f"and {reflections}."
            )
        self.h = h
        self.num_units = units
        normal = jax.random.normal(rngs.params(), (units, units), jnp.float32)
        self.parameters = AmortizedParameters(
            {
                "reflections": jax.random.normal(rngs.params(), (reflections, size), jnp.float32),
                # R1 = 0 is the identity; R2 must not be 0 then, or nothing would get a gradient.
                "matrix": jnp.tril(normal, -1) / units**0.5,
                "diagonal": jnp.ones(units, jnp.float32),
                "b": jnp.zeros(units, jnp.float32),
            },
            context_shape=context_shape,
            make_conditioner=make_conditioner,
        )
        self.context_shape = None if context_shape is None else tuple(context_shape)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return sylvester_forward(z, *self._constrained(context, key), self.h)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, by ``num_units`` scalar root findings."""
        return sylvester_inverse(x, *self._constrained(context, key), self.h)

    def _constrained(
        self, context: jax.Array | None, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        raw = self.parameters(context, key=key)
        q = householder_columns(raw["reflections"], self.num_units)
        r1, r2 = sylvester_triangles(raw["matrix"], raw["diagonal"], self.h)
        return q, r1, r2, raw["b"]
