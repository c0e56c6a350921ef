"""One calling convention for distributions with and without context."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.testing._pytree import split_arrays


class Subject:
    """A distribution and its context, called eagerly or under a transformation.

    Attributes:
        distribution: the object under test.
        event: its event shape; ``size`` is the product.
        batch: its batch shape, () if it has none.
        arrays: the arrays of distribution and context, which transformations trace.
    """

    def __init__(self, distribution: Any, context: Any) -> None:
        if not hasattr(distribution, "event_shape"):
            raise ValueError(
                f"check_density: {type(distribution).__name__} has no event_shape; a distribution "
                "declares the shape of one sample."
            )
        self.distribution = distribution
        self.context = context
        self.event = tuple(distribution.event_shape)
        self.size = int(np.prod(self.event))
        self.batch = tuple(getattr(distribution, "batch_shape", ()))
        self.arrays, self._merge = split_arrays((distribution, context))

    def log_prob(self, x: Any) -> Any:
        """Eager log-prob of x [*batch, *event]."""
        return _log_prob(self.distribution, self.context, x)

    def sample(self, seed: jax.Array, shape: tuple[int, ...]) -> Any:
        """Eager samples [*shape, *event]."""
        return _sample(self.distribution, self.context, seed, shape)

    def sample_and_log_prob(self, seed: jax.Array, shape: tuple[int, ...]) -> Any:
        """Eager samples with their log-probs."""
        side = {} if self.context is None else {"context": self.context}
        return self.distribution.sample_and_log_prob(seed=seed, sample_shape=shape, **side)

    def sampled_log_prob(self, seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Eager log-probs of samples."""
        return jnp.asarray(self.log_prob(self.sample(seed, shape)))

    def jit_log_prob(self, x: Any) -> Any:
        """``log_prob`` under ``jax.jit``, the arrays of the distribution traced."""
        return self._log_prob_jit(self.arrays, x)

    def jit_sample(self, seed: jax.Array, shape: tuple[int, ...]) -> Any:
        """``sample`` under ``jax.jit``."""

        def draw(arrays: dict[str, Any], seed: jax.Array) -> Any:
            distribution, context = self._merge(arrays)
            return _sample(distribution, context, seed, shape)

        return jax.jit(draw)(self.arrays, seed)

    def score(self, x: jax.Array) -> jax.Array:
        """Gradient of log p at each row of x [n, *event]."""
        gradient = jax.vmap(jax.grad(self.pure_log_prob, argnums=1), in_axes=(None, 0))
        return jax.jit(gradient)(self.arrays, x)

    @functools.cached_property
    def _log_prob_jit(self) -> Any:
        return jax.jit(self.pure_log_prob)

    def pure_log_prob(self, arrays: dict[str, Any], x: jax.Array) -> jax.Array:
        """``log_prob`` as a function of the arrays of the distribution."""
        distribution, context = self._merge(arrays)
        return jnp.asarray(_log_prob(distribution, context, x))


def _log_prob(distribution: Any, context: Any, x: Any) -> Any:
    return distribution.log_prob(x) if context is None else distribution.log_prob(x, context)


def _sample(distribution: Any, context: Any, seed: jax.Array, shape: tuple[int, ...]) -> Any:
    side = {} if context is None else {"context": context}
    return distribution.sample(seed=seed, sample_shape=shape, **side)
