"""A bijector whose context goes through a network first."""

from collections.abc import Sequence
from typing import Any, Self

import jax
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded


@recorded
class EncodedContext(Bijector):
    """``x = layer.forward(z, encoder(context))``: the features are computed once, whatever the number of layers inside.

    Args:
      layer: a conditional bijector.
      encoder: module ``encoder(context) -> [*batch, *layer.context_shape]``, without dropout.
      context_shape: shape of one context, before the encoder.

    Raises:
      ValueError: the layer takes no context.
    """

    reach = "any"

    def __init__(self, layer: Bijector, encoder: nnx.Module, context_shape: Sequence[int]):
        if layer.context_shape is None:
            raise ValueError(
                f"EncodedContext: {type(layer).__name__} takes no context; build it with the context_shape of the "
                f"encoder's output."
            )
        self.layer = layer
        self.encoder = encoder
        self.event_shape = layer.event_shape
        self.context_shape = tuple(context_shape)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Latent shape of the layer."""
        return self.layer.latent_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether the layer does."""
        return self.layer.depends_on_data

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        features = self._encode(context)
        return self.layer.forward_and_log_det(z, features, key=key)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        features = self._encode(context)
        return self.layer.inverse_and_log_det(x, features, key=key)

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Initialise the layer, from the features of the batch of contexts."""
        new = nnx.clone(self)
        new.layer = self.layer.with_data_init(x, self._encode(context))
        return new

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the new layer behind the same encoder."""
        features = self._encode(context)
        z, log_det, layer = self.layer.inverse_and_update(x, features, key=key)
        new = nnx.clone(self)
        new.layer = layer
        return z, log_det, new

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`."""
        return self.layer.forward_in_training(z, self._encode(context), key=key)

    def _encode(self, context: jax.Array | None) -> jax.Array:
        encoder: Any = self.encoder
        return encoder(context)
