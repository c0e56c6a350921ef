"""The radial layer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.radial import radial_constrain, radial_forward, radial_inverse
from dgmjax.layers.amortized import AmortizedParameters, MakeConditioner, vector_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Radial(Bijector):
    """``x = z + beta (z - center) / (alpha + |z - center|)``; starts as the identity, inverse in closed form.

    With a context the parameters are a base plus the output of a network (amortised).

    Args:
      event_shape: ``(d,)``.
      context_shape: ``(c,)`` for a conditional layer, or None.
      make_conditioner: ``make_conditioner(c, (d + 2,))`` returns ``net(context, key=None)``; given exactly when
        ``context_shape`` is.
      rngs: ``nnx.Rngs`` for the initial centre.

    Raises:
      ValueError: event or context of another rank than 1, or a context without a network.

    Source: Rezende and Mohamed, 2015, arXiv:1505.05770, section 4.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        context_shape: Sequence[int] | None = None,
        make_conditioner: MakeConditioner | None = None,
        rngs: nnx.Rngs,
    ):
        self.event_shape = vector_event(event_shape, where="Radial")
        self.parameters = AmortizedParameters(
            {
                "center": jax.random.normal(rngs.params(), self.event_shape, jnp.float32),
                "raw_alpha": jnp.zeros((), jnp.float32),
                "raw_beta": jnp.zeros((), jnp.float32),
            },
            context_shape=context_shape,
            make_conditioner=make_conditioner,
        )
        self.context_shape = None if context_shape is None else tuple(context_shape)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return radial_forward(z, *self._constrained(context, key))

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return radial_inverse(x, *self._constrained(context, key))

    def _constrained(
        self, context: jax.Array | None, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        raw = self.parameters(context, key=key)
        return raw["center"], *radial_constrain(raw["raw_alpha"], raw["raw_beta"])
