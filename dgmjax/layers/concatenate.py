"""Layers side by side: each maps its own part of a vector."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import common_context_shape
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng


@recorded
class Concatenate(Bijector):
    """``x = (f_1(z_1), ..., f_k(z_k))``: parts of a vector, each with its own map; the log-determinants add.

    So the columns of a table that are positive, bounded or real have their own maps onto the real line.

    Args:
      layers: at least one bijector of vectors; their events lie one after the other.

    Raises:
      ValueError: no layers, a layer whose events or latents are no vectors, or contexts of different shapes.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> positive = dgm.Elementwise(dgm.SoftplusTransformer(), (1,))
      >>> layer = dgm.Concatenate([dgm.ActNorm((2,)), positive])
      >>> [round(float(x), 4) for x in layer.forward(jnp.array([1.0, -2.0, 0.0]))]
      [1.0, -2.0, 0.6931]
    """

    reach = "any"

    def __init__(self, layers: Sequence[Bijector]):
        if not layers:
            raise ValueError("Concatenate: expected at least one layer, got none.")
        for index, layer in enumerate(layers):
            if len(layer.event_shape) != 1 or len(layer.latent_shape) != 1:
                raise ValueError(
                    f"Concatenate: layer {index} ({type(layer).__name__}) maps latents of shape {layer.latent_shape} "
                    f"to events of shape {layer.event_shape}; the parts are vectors."
                )
        self.layers = nnx.List(layers)
        self.event_shape = (sum(layer.event_shape[0] for layer in layers),)
        self._latent_shape = (sum(layer.latent_shape[0] for layer in layers),)
        self.context_shape = common_context_shape(layers, where="Concatenate")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Latents of all parts."""
        return self._latent_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether any layer does."""
        return any(layer.depends_on_data for layer in self.layers)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data, part by part."""
        return _joined(
            layer.forward_and_log_det(part, context, key=prng.fold_in(key, index))
            for index, layer, part in self._parts(z, of_latents=True)
        )

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent, part by part."""
        return _joined(
            layer.inverse_and_log_det(part, context, key=prng.fold_in(key, index))
            for index, layer, part in self._parts(x)
        )

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Initialise each layer from its part of the data."""
        return self._with(
            [layer.with_data_init(part, context) for _, layer, part in self._parts(x)]
        )

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the new layers side by side."""
        results = [
            layer.inverse_and_update(part, context, key=prng.fold_in(key, index))
            for index, layer, part in self._parts(x)
        ]
        z, log_det = _joined((z, log_det) for z, log_det, _ in results)
        return z, log_det, self._with([layer for _, _, layer in results])

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`, part by part."""
        parts = [
            layer.forward_in_training(part, context, key=prng.fold_in(key, index))
            for index, layer, part in self._parts(z, of_latents=True)
        ]
        return jnp.concatenate(parts, axis=-1)

    def _parts(
        self, value: jax.Array, *, of_latents: bool = False
    ) -> Iterator[tuple[int, Bijector, jax.Array]]:
        """The number, the layer and the part of ``value`` of each."""
        start = 0
        for index, layer in enumerate(self.layers):
            (size,) = layer.latent_shape if of_latents else layer.event_shape
            yield index, layer, value[..., start : start + size]
            start += size

    def _with(self, layers: list[Bijector]) -> Self:
        new = nnx.clone(self)
        new.layers = nnx.List(layers)
        return new


def _joined(results: Iterable[tuple[jax.Array, jax.Array]]) -> tuple[jax.Array, jax.Array]:
    """Parts as one vector, and the sum of their log-determinants."""
    parts, log_dets = zip(*results, strict=True)
    return jnp.concatenate(parts, axis=-1), functools.reduce(jnp.add, log_dets)
