"""Permutation layers."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.bijectors.permute import permute_forward, permute_inverse
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.static import StaticArray


@recorded
class Permute(Bijector):
    """``x_i = z_{permutation[i]}`` along the last axis of the event; the log-determinant is exactly 0.

    The permutation is structure, not data: XLA sees a constant. `Permute.reverse` and `Permute.shuffle` build the two
    of Glow's ablation.

    Args:
      event_shape: ``(d,)``, or any shape whose last axis is permuted.
      permutation: the integers ``0 .. event_shape[-1] - 1``, each once.

    Raises:
      ValueError: scalar events, or values that are no permutation of the last axis.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.2 and figure 3.
    """

    reach = "any"

    def __init__(self, event_shape: Sequence[int], permutation: Sequence[int] | np.ndarray):
        self.event_shape = _not_scalar(event_shape)
        values, size = np.asarray(permutation), self.event_shape[-1]
        if not np.array_equal(np.sort(values, axis=None), np.arange(size)) or values.ndim != 1:
            raise ValueError(
                f"Permute: expected each of the integers 0 .. {size - 1} once, got {values.tolist()}; "
                f"Permute.reverse and Permute.shuffle build valid ones."
            )
        self.permutation = StaticArray(values.astype(np.int64))

    @classmethod
    def reverse(cls, event_shape: Sequence[int]) -> Self:
        """``x_i = z_{d - 1 - i}``: the order of the last axis turned around."""
        return cls(event_shape, np.arange(_not_scalar(event_shape)[-1])[::-1])

    @classmethod
    def shuffle(cls, event_shape: Sequence[int], *, seed: int) -> Self:
        """A fixed random permutation.

        Args:
          event_shape: shape of one event.
          seed: the same seed and size give the same permutation, also in a model that is loaded again; give each
            layer its own.
        """
        # RandomState, since NumPy promises that its stream never changes; other generators may.
        permutation = np.random.RandomState(seed).permutation(_not_scalar(event_shape)[-1])
        return cls(event_shape, permutation)

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        x, log_det = permute_forward(z, self.permutation.value)
        return x, log_det.sum(event_axes(self.event_shape[:-1]))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        z, log_det = permute_inverse(x, self.permutation.value)
        return z, log_det.sum(event_axes(self.event_shape[:-1]))


@recorded
class Shuffle(Bijector):
    """``x_i = z_{permutation[i]}`` along the last axis of the event, with a permutation drawn from ``rngs``.

    The permutation is data, where that of `Permute` is structure: the layers of a `dgmjax.Stack` may differ in it.
    The log-determinant is exactly 0.

    Args:
      event_shape: ``(d,)``, or any shape whose last axis is permuted.
      rngs: ``nnx.Rngs``; not kept.

    Raises:
      ValueError: scalar events.

    Source: Kingma and Dhariwal, 2018, *Glow*, arXiv:1807.03039, section 3.2 and figure 3.
    """

    reach = "any"

    def __init__(self, event_shape: Sequence[int], *, rngs: nnx.Rngs):
        self.event_shape = _not_scalar(event_shape)
        self.permutation = nnx.data(
            jax.random.permutation(rngs.params(), self.event_shape[-1]).astype(jnp.int32)
        )

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data."""
        return self._take(z, self.permutation)

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        return self._take(x, jnp.argsort(self.permutation))

    def _take(self, value: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch = value.shape[: value.ndim - len(self.event_shape)]
        return jnp.take(value, index, axis=-1), jnp.zeros(batch, value.dtype)


def _not_scalar(event_shape: Sequence[int]) -> tuple[int, ...]:
    if len(event_shape) == 0:
        raise ValueError("Permute: expected an event with at least one axis, got event_shape ().")
    return tuple(event_shape)
