"""Elementwise maps as a layer: any transformer, with parameters of its own."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.transformer import Transformer, check_transformer, no_params
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded


@recorded
class Elementwise(Bijector):
    """``x_i = f(z_i; p_i)`` for every element ``i``, where the layer owns the parameters ``p``.

    With `dgmjax.SplineTransformer` a learned spline an element; with `dgmjax.SigmoidTransformer`, which has no
    parameters, a fixed map onto data in ``(0, 1)``. All parameters start at zero: the identity for affine maps and
    splines, near it for mixtures of logistics.

    Args:
      transformer: the map ``f``, see `dgmjax.bijectors.Transformer`.
      event_shape: shape of one event, any rank.

    Raises:
      TypeError: ``transformer`` has no ``num_params``, ``forward`` or ``inverse``.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> layer = dgm.Elementwise(dgm.TanhTransformer(), (2,))
      >>> layer.forward(jnp.zeros((3, 2))).shape
      (3, 2)
    """

    def __init__(self, transformer: Transformer, event_shape: Sequence[int]):
        self.transformer = check_transformer(transformer, where="Elementwise")
        self.event_shape = tuple(event_shape)
        count = transformer.num_params
        shape = (*self.event_shape, count)
        self.params = nnx.Param(jnp.zeros(shape, jnp.float32)) if count else None
        if not count:
            self.reach = "finite"  # no parameter makes a map of these overflow

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_derivative = self.transformer.forward(z, self._params(z))
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_derivative = self.transformer.inverse(x, self._params(x))
        return z, log_derivative.sum(event_axes(self.event_shape))

    def _params(self, value: jax.Array) -> jax.Array:
        """``[*value.shape, num_params]``."""
        if self.params is None:
            return no_params(value)
        return jnp.broadcast_to(self.params[...], (*value.shape, self.transformer.num_params))
