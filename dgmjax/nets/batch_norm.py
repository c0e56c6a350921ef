"""Batch normalization inside networks: the statistics of the batch in training, running ones otherwise."""

from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.batchnorm import check_batch_norm, feature_rows
from dgmjax.checks import widened
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled


class NetBatchNorm(Module):
    """``y = scale (x - m) / sqrt(v + epsilon) + offset`` with mean ``m`` and variance ``v`` a feature, the last axis.

    Evaluation, ``norm(x)``, takes the running ``m`` and ``v``: a map of single examples. Training,
    ``norm.apply_and_update(x)``, takes those of the batch, over all axes but the last, and returns the module with new
    running ones. They are ``nnx.BatchStat``, so no optimizer reaches them; at first 0 and 1. Statistics are computed in
    float32 at least. `dgmjax.BatchNorm` is the bijector of this map, with its log-determinant.

    Args:
      num_features: length of the last axis.
      momentum: share of the old running statistics that an update keeps, in ``[0, 1)``.
      epsilon: added to the variance.

    Raises:
      ValueError: ``momentum`` or ``epsilon`` out of range.

    Source: Ioffe and Szegedy, 2015, *Batch normalization*, arXiv:1502.03167, algorithms 1 and 2; the running variance
      is that of the batch divided by the number of values, as in TensorFlow.
    """

    def __init__(self, num_features: int, *, momentum: float = 0.9, epsilon: float = 1e-5):
        check_batch_norm(momentum, epsilon)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.scale = nnx.Param(jnp.ones(num_features, jnp.float32))
        self.offset = nnx.Param(jnp.zeros(num_features, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(num_features, jnp.float32))
        self.variance = nnx.BatchStat(jnp.ones(num_features, jnp.float32))

    @compiled
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``[*batch, c]`` in and out, in the dtype of ``x``; ``key`` is not used."""
        del key
        return self._normalized(x, self.mean[...], self.variance[...])

    @compiled
    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same with the statistics of ``x``, and the new module; this one stays as it is.

        ``m <- momentum m + (1 - momentum) mean(x)``, and ``v`` likewise. Gradients flow through the statistics of the
        batch into ``x``, but not into the running ones.

        Raises:
          ValueError: a single value a feature, which has no variance.
        """
        del key
        rows = feature_rows(x, where="BatchNorm.apply_and_update")
        mean, variance = rows.mean(0), rows.var(0)
        return self._normalized(x, mean, variance), self._with_statistics(mean, variance)

    def _normalized(self, x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
        # One multiplication and one addition an element; what they are, c numbers each, is computed apart.
        dtype = widened(x).dtype
        factor = self.scale[...].astype(dtype) * jax.lax.rsqrt(
            variance.astype(dtype) + self.epsilon
        )
        shift = self.offset[...].astype(dtype) - mean.astype(dtype) * factor
        y = x.astype(dtype) * jnp.broadcast_to(factor, x.shape) + jnp.broadcast_to(shift, x.shape)
        return y.astype(x.dtype)

    def _with_statistics(self, mean: jax.Array, variance: jax.Array) -> Self:
        new = nnx.clone(self)
        for running, of_batch in ((new.mean, mean), (new.variance, variance)):
            taken = jax.lax.stop_gradient(of_batch).astype(running[...].dtype)
            running[...] = self.momentum * running[...] + (1.0 - self.momentum) * taken
        return new
