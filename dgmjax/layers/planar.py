"""The planar layer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.nonlinearity import Nonlinearity, NonlinearityName, nonlinearity
from dgmjax.bijectors.planar import planar_constrain, planar_forward, planar_inverse
from dgmjax.layers.amortized import AmortizedParameters, MakeConditioner, vector_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Planar(Bijector):
    """``x = z + u_hat h(w.z + b)``, ``log det = log(1 + w.u_hat h'(w.z + b))``; starts as the identity.

    The published formula is ``forward``; ``inverse`` solves one scalar equation an event and is differentiable. With
    a context the parameters are a base plus the output of a network (amortised, as in a variational posterior).

    Args:
      event_shape: ``(d,)``.
      h: ``"tanh"``, ``"sigmoid"``, ``"softplus"``, ``"leaky_relu"``, or a `dgmjax.bijectors.Nonlinearity`.
      context_shape: ``(c,)`` for a conditional layer, or None.
      make_conditioner: ``make_conditioner(c, (2 d + 1,))`` returns ``net(context, key=None)``; given exactly when
        ``context_shape`` is.
      rngs: ``nnx.Rngs`` for the initial direction.

    Raises:
      ValueError: event or context of another rank than 1, unknown ``h``, or a context without a network.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, section 4.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        h: NonlinearityName | Nonlinearity = "tanh",
        context_shape: Sequence[int] | None = None,
        make_conditioner: MakeConditioner | None = None,
        rngs: nnx.Rngs,
    ):
        self.event_shape = vector_event(event_shape, where="Planar")
        nonlinearity(h)
        (size,) = self.event_shape
        self.h = h
        self.parameters = AmortizedParameters(
            {
                "u": jnp.zeros(size, jnp.float32),
                "w": jax.random.normal(rngs.params(), (size,), jnp.float32) / size**0.5,
                "b": jnp.zeros((), jnp.float32),
            },
            context_shape=context_shape,
            make_conditioner=make_conditioner,
        )
        self.context_shape = None if context_shape is None else tuple(context_shape)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return planar_forward(z, *self._constrained(context, key), self.h)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, by scalar root finding."""
        return planar_inverse(x, *self._constrained(context, key), self.h)

    def _constrained(
        self, context: jax.Array | None, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        raw = self.parameters(context, key=key)
        return planar_constrain(raw["u"], raw["w"], self.h), raw["w"], raw["b"]
