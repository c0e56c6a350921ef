"""A distribution over integer levels, made from any continuous one."""

from typing import Any, Self

import jax
import jax.numpy as jnp

from dgmjax.checks import as_shape, floating_dtype
from dgmjax.densities.discretized_mixture import discretized_log_prob
from dgmjax.numerics.compiled import compiled
from dgmjax.numerics.tails import log_tails, over_batch


@jax.tree_util.register_pytree_node_class
class DiscretizedFromCDF:
    """``P(y) = F(y + 1/2) - F(y - 1/2)`` for ``y = 0 .. L-1``, both tails folded into the end levels.

    The law of ``clip(round(X), 0, L - 1)`` with ``X ~ dist``, so the masses sum to 1 whatever the parameters.
    Duck-types `distrax.Distribution`; events are scalars, and the batch shape is that of ``dist``.

    Args:
      dist: a distribution with scalar events, ``log_cdf``, ``log_survival_function`` and ``sample`` (distrax's normal,
        logistic, Laplace, ...), a mixture of such (``distrax.MixtureSameFamily``), or a pair of elementwise functions
        ``(log F, log(1 - F))`` of scalar parameters, in units of levels.
      num_levels: number of levels ``L``, at least 2.

    Raises:
      ValueError: fewer than 2 levels, or events that are not scalars.

    Source: Salimans et al., 2017, *PixelCNN++*, arXiv:1701.05517, equation 2.
    """

    def __init__(self, dist: Any, num_levels: int):
        if num_levels < 2:
            raise ValueError(
                f"DiscretizedFromCDF: expected num_levels of at least 2, got {num_levels}."
            )
        if tuple(getattr(dist, "event_shape", ())):
            raise ValueError(
                f"DiscretizedFromCDF: expected a distribution of scalars, got event_shape {dist.event_shape}; pass the "
                f"batch of scalars itself."
            )
        self.dist = dist
        self.num_levels = int(num_levels)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Scalar events."""
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of ``dist``; ``()`` for a pair of functions."""
        return tuple(getattr(self.dist, "batch_shape", ()))

    @compiled
    def log_prob(self, value: jax.Array) -> jax.Array:
        """``log P(y)`` in nats, ``[*sample, *batch] -> [*sample, *batch]``; ``-inf`` where ``y`` is not a level.

        Args:
          value: levels, integers or whole floats of the dtype of ``dist``.
        """
        value = jnp.asarray(value)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            value = value.astype(floating_dtype(self.dist))
        if value.ndim < len(self.batch_shape):
            value = jnp.broadcast_to(value, self.batch_shape)
        return over_batch(self._log_prob, value, self.batch_shape)

    @compiled
    def sample(self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()) -> jax.Array:
        """Draw ``[*sample_shape, *batch]``, int32: draws of ``dist``, rounded and clipped."""
        shape = as_shape(sample_shape)
        if isinstance(self.dist, tuple):
            logits = self.log_prob(jnp.arange(self.num_levels))
            return jax.random.categorical(seed, logits, shape=shape).astype(jnp.int32)
        x = self.dist.sample(seed=seed, sample_shape=shape)
        # Clipped before the cast: integers overflow where floats do not.
        return jnp.clip(jnp.round(x), 0, self.num_levels - 1).astype(jnp.int32)

    @compiled
    def sample_and_log_prob(
        self, *, seed: jax.Array, sample_shape: int | tuple[int, ...] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Draw levels with their log-probabilities."""
        value = self.sample(seed=seed, sample_shape=sample_shape)
        return value, self.log_prob(value)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, int]]:
        """A pytree: the arrays are those of ``dist``."""
        if isinstance(self.dist, tuple):
            return (), (self.dist, self.num_levels)
        return (self.dist,), (None, self.num_levels)

    @classmethod
    def tree_unflatten(cls, aux_data: tuple[Any, int], children: tuple[Any, ...]) -> Self:
        """Inverse of `tree_flatten`; transformations put placeholders into it, so nothing is checked."""
        new = object.__new__(cls)
        functions, new.num_levels = aux_data
        new.dist = children[0] if functions is None else functions
        return new

    def _log_prob(self, y: jax.Array) -> jax.Array:
        if isinstance(self.dist, tuple):
            log_cdf, log_sf = self.dist
        else:

            def log_cdf(x: jax.Array) -> jax.Array:
                return log_tails(self.dist, x)[0]

            def log_sf(x: jax.Array) -> jax.Array:
                return log_tails(self.dist, x)[1]

        return discretized_log_prob(log_cdf, log_sf, y, self.num_levels)
