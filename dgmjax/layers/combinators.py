"""Layers made of layers: composition and direction."""

import functools
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.layers.bijector import Bijector
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics import prng


def common_context_shape(layers: Sequence[Any], *, where: str) -> tuple[int, ...] | None:
    """The shape of the contexts of all layers that take one; None if none does.

    Raises:
      ValueError: they take contexts of different shapes.
    """
    shapes = {layer.context_shape for layer in layers} - {None}
    if len(shapes) > 1:
        raise ValueError(f"{where}: the layers expect contexts of different shapes: {shapes}.")
    return shapes.pop() if shapes else None


@recorded
class Chain(Bijector):
    """Composition: ``Chain([f, g]).forward(z) = f(g(z))``, as in distrax.

    The list reads from data to latent: the first layer touches the data, the last one the base distribution. The
    log-determinants add, each evaluated where its layer is applied, ``sum_k log |det J_k(z_k)|`` with
    ``z_k`` the input of layer ``k``.

    Args:
      layers: at least one bijector; neighbouring shapes must match.

    Raises:
      ValueError: no layers, or ``layers[i].latent_shape != layers[i + 1].event_shape``.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> layer = dgm.Chain([dgm.Logit((2,), 1.0, alpha=0.0), dgm.Permute((2,), (1, 0))])
      >>> z, log_det = layer.inverse_and_log_det(jnp.array([0.5, 0.5]))
      >>> z.tolist(), round(float(log_det), 4)  # 2 log 4
      ([0.0, 0.0], 2.7726)

    Source: Papamakarios et al., 2021, arXiv:1912.02762, section 2.1.
    """

    reach = "any"

    def __init__(self, layers: Sequence[Bijector]):
        if not layers:
            raise ValueError("Chain: expected at least one layer, got none.")
        for index, (outer, inner) in enumerate(zip(layers[:-1], layers[1:], strict=True)):
            if outer.latent_shape != inner.event_shape:
                raise ValueError(
                    f"Chain: layer {index} ({type(outer).__name__}) has latents of shape {outer.latent_shape}, "
                    f"but layer {index + 1} ({type(inner).__name__}) produces events of shape "
                    f"{inner.event_shape}; layers are listed from data to latent."
                )
        self.layers = nnx.List(layers)
        self.event_shape = layers[0].event_shape
        self.context_shape = common_context_shape(layers, where="Chain")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Latent shape of the last layer."""
        return self.layers[-1].latent_shape

    @property
    def depends_on_data(self) -> bool:
        """Whether any layer does."""
        return any(layer.depends_on_data for layer in self.layers)

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Apply the layers from last to first."""
        log_dets = []
        for index, layer in reversed(list(enumerate(self.layers))):
            with jax.named_scope(f"layers[{index}]"):
                z, log_det = layer.forward_and_log_det(z, context, key=prng.fold_in(key, index))
            log_dets.append(log_det)
        return z, functools.reduce(jnp.add, log_dets)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Apply the inverses from first to last."""
        log_dets = []
        for index, layer in enumerate(self.layers):
            with jax.named_scope(f"layers[{index}]"):
                x, log_det = layer.inverse_and_log_det(x, context, key=prng.fold_in(key, index))
            log_dets.append(log_det)
        return x, functools.reduce(jnp.add, log_dets)

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Initialise layer after layer, each from the data as its predecessors leave it."""
        layers = list(self.layers)
        dependent = [i for i, layer in enumerate(layers) if layer.depends_on_data]
        for index in range(dependent[-1] + 1 if dependent else 0):
            layers[index] = layers[index].with_data_init(x, context)
            if index < dependent[-1]:
                x = layers[index].inverse(x, context)
        return self._with(layers)

    def inverse_and_update(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent as in training, and the chain of the new layers."""
        log_dets, layers = [], []
        for index, layer in enumerate(self.layers):
            with jax.named_scope(f"layers[{index}]"):
                x, log_det, layer = layer.inverse_and_update(
                    x, context, key=prng.fold_in(key, index)
                )
            log_dets.append(log_det)
            layers.append(layer)
        return x, functools.reduce(jnp.add, log_dets), self._with(layers)

    def forward_in_training(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Undo `inverse_and_update`, from the last layer to the first."""
        for index, layer in reversed(list(enumerate(self.layers))):
            with jax.named_scope(f"layers[{index}]"):
                z = layer.forward_in_training(z, context, key=prng.fold_in(key, index))
        return z

    def _with(self, layers: list[Bijector]) -> Self:
        new = nnx.clone(self)
        new.layers = nnx.List(layers)
        return new


@recorded
class Inverse(Bijector):
    """The same map in the other direction: forward and inverse of ``layer`` change places.

    Data-dependent layers inside keep their initial state: `with_data_init` sees the other side's data.
    """

    def __init__(self, layer: Bijector):
        self.layer = layer
        self.event_shape = layer.latent_shape
        self.context_shape = layer.context_shape

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Event shape of the wrapped layer."""
        return self.layer.event_shape

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The inverse of the wrapped layer."""
        return self.layer.inverse_and_log_det(z, context, key=key)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The forward of the wrapped layer."""
        return self.layer.forward_and_log_det(x, context, key=key)
