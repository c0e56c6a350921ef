"""Elementwise maps as a layer: any transformer, with parameters of its own or of the context."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.transformer import Transformer, check_transformer, no_params
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.conditioner import MakeConditioner, call_network, context_size
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Elementwise(Bijector):
    """``x_i = f(z_i; p_i)`` for every element ``i``, where the layer owns the parameters ``p``.

    A conditional layer has the parameters ``p + net(context)``.

    With `dgmjax.SplineTransformer` a learned spline an element; with `dgmjax.SigmoidTransformer`, which has no
    parameters, a fixed map onto data in ``(0, 1)``. All parameters start at zero: the identity for affine maps and
    splines, near it for mixtures of logistics.

    Args:
      transformer: the map ``f``, see `dgmjax.bijectors.Transformer`.
      event_shape: shape of one event, any rank.
      context_shape: ``(c,)`` for a conditional layer, or None.
      make_conditioner: called once as ``make_conditioner(c, (*event_shape, transformer.num_params))``; returns a module
        ``net(context, key=None) -> [*batch, *event_shape, num_params]``, e.g. a partial of `dgmjax.nets.MLP`.

    Raises:
      TypeError: ``transformer`` has no ``num_params``, ``forward`` or ``inverse``.
      ValueError: only one of ``context_shape`` and ``make_conditioner`` is given, or the context is not a vector.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> layer = dgm.Elementwise(dgm.TanhTransformer(), (2,))
      >>> layer.forward(jnp.zeros((3, 2))).shape
      (3, 2)
    """

    def __init__(
        self,
        transformer: Transformer,
        event_shape: Sequence[int],
        *,
        context_shape: Sequence[int] | None = None,
        make_conditioner: MakeConditioner | None = None,
    ):
        self.transformer = check_transformer(transformer, where="Elementwise")
        self.event_shape = tuple(event_shape)
        count = transformer.num_params
        shape = (*self.event_shape, count)
        self.params = nnx.Param(jnp.zeros(shape, jnp.float32)) if count else None
        self.context_shape = None
        if count and (context_shape is not None or make_conditioner is not None):
            size = context_size(context_shape, make_conditioner, where="Elementwise")
            self.context_shape = (size,)
            self.conditioner: Any = make_conditioner(size, shape)  # type: ignore[misc]
        if not count:
            self.reach = "finite"  # no parameter makes a map of these overflow

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = self.transformer.forward(z, self._params(z, context, key))
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = self.transformer.inverse(x, self._params(x, context, key))
        return z, log_derivative.sum(event_axes(self.event_shape))

    def _params(
        self, value: jax.Array, context: jax.Array | None, key: jax.Array | None
    ) -> jax.Array:
        """``[*value.shape, num_params]``."""
        if self.params is None:
            return no_params(value)
        shape = (*value.shape, self.transformer.num_params)
        own = jnp.broadcast_to(self.params[...], shape)
        if self.context_shape is None:
            return own
        return own + jnp.broadcast_to(call_network(self.conditioner, context, key=key), shape)
