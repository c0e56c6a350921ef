"""What likelihoods share: the contract of their calls, batch axes, keys."""

import math
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.checks import (
    batch_shape,
    check_float_event,
    check_integer_event,
    level_dtype,
    widened,
)
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled


class Likelihood(Module):
    """``p(x | output)``, a distribution of events whose parameters are the output of a network.

    A subclass implements three functions of an output of at least 32 bits: ``_log_probs(x, output)``, whose arguments
    have the same batch axes and whose result has those and the axes over which the log-probability is a sum,
    ``_draw(key, output)``, and ``_mean(output)``.

    Args:
      event_shape: shape of one event.
      output_shape: shape of the network's output for one event.
      num_levels: data are integers ``0 .. num_levels - 1``; None for continuous data.

    Raises:
      ValueError: fewer than 2 levels.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        output_shape: Sequence[int],
        num_levels: int | None = None,
    ):
        if num_levels is not None and num_levels < 2:
            raise ValueError(
                f"{type(self).__name__}: num_levels must be at least 2, got {num_levels}."
            )
        self.event_shape = tuple(event_shape)
        self.output_shape = tuple(output_shape)
        self.num_levels = None if num_levels is None else int(num_levels)

    @compiled
    def log_prob(
        self, x: jax.Array, output: jax.Array, *, key: jax.Array | None = None
    ) -> jax.Array:
        """``log p(x | output)`` in nats, summed over the event, in at least 32 bits.

        Args:
          x: events ``[*b, *event]``: integers, of which those that are no level have ``-inf``, or floats.
          output: ``[*b', *output_shape]``; the batch axes broadcast against those of ``x``.
          key: switches dropout on in a likelihood with a network of its own; the others ignore it.

        Returns:
          ``[*broadcast(b, b')]``.

        Raises:
          TypeError: floating-point values for a discrete likelihood, or integers for a continuous one.
          ValueError: shapes that are not those announced, or batch axes that do not broadcast.
        """
        del key
        x, output = self._aligned(x, output)
        log_probs = self._log_probs(x, output)
        batch = output.ndim - len(self.output_shape)
        return log_probs.sum(tuple(range(batch, log_probs.ndim)))

    def log_prob_and_update(
        self, x: jax.Array, output: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """`log_prob` as in training, and the likelihood with new running statistics: itself without any."""
        return self.log_prob(x, output, key=key), self

    def with_data_init(self, x: jax.Array, output: jax.Array) -> Self:
        """A new likelihood whose data-dependent parts are set from events and outputs; itself without any."""
        del x, output
        return self

    @compiled
    def sample(self, output: jax.Array, *, seed: jax.Array) -> jax.Array:
        """Draw one event for every output: ``[*b, *output_shape] -> [*b, *event]``.

        Discrete data are integers, ``uint8`` for up to 256 levels.

        Args:
          output: of the network.
          seed: one key, or keys of the first batch axes of ``output``.

        Raises:
          ValueError: another output shape than announced, or keys of other axes.
        """
        batch = self._check_output(output, "sample")
        if seed.shape != batch[: seed.ndim]:
            raise ValueError(
                f"{type(self).__name__}.sample: expected one key, or keys of the first of the batch axes {batch}, got "
                f"keys of shape {seed.shape}."
            )
        output = widened(output)
        if seed.ndim == 0:
            return self._as_data(self._draw(seed, output))
        num = math.prod(seed.shape)
        rows = output.reshape(num, *output.shape[seed.ndim :])
        drawn = jax.vmap(self._draw)(seed.reshape(num), rows)
        return self._as_data(drawn.reshape(*batch, *self.event_shape))

    @compiled
    def mean(self, output: jax.Array) -> jax.Array:
        """``E[x | output]``, floats in units of the data: ``[*b, *output_shape] -> [*b, *event]``.

        Raises:
          ValueError: another output shape than announced.
        """
        self._check_output(output, "mean")
        return self._mean(widened(output))

    def _log_probs(self, x: jax.Array, output: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _draw(self, key: jax.Array, output: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _mean(self, output: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _as_data(self, drawn: jax.Array) -> jax.Array:
        return drawn if self.num_levels is None else drawn.astype(level_dtype(self.num_levels))

    def _aligned(self, x: jax.Array, output: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Both with the same batch axes: integers as int32, floats in the dtype of the output."""
        where = f"{type(self).__name__}.log_prob"
        check = check_float_event if self.num_levels is None else check_integer_event
        of_x, of_output = (
            check(x, self.event_shape, where=where),
            self._check_output(output, "log_prob"),
        )
        try:
            batch = np.broadcast_shapes(of_x, of_output)
        except ValueError:
            raise ValueError(
                f"{where}: the batch axes {of_x} of the events do not broadcast against the batch axes {of_output} of "
                f"the network's output."
            ) from None
        output = widened(output)
        x = jnp.asarray(x).astype(output.dtype if self.num_levels is None else jnp.int32)
        return (
            jnp.broadcast_to(x, (*batch, *self.event_shape)),
            jnp.broadcast_to(output, (*batch, *self.output_shape)),
        )

    def _check_output(self, output: jax.Array, method: str) -> tuple[int, ...]:
        where = f"{type(self).__name__}.{method} (output of the network)"
        return batch_shape(output, self.output_shape, where=where)
