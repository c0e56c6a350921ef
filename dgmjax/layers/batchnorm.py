"""Batch normalization as a bijector: exact with running statistics, updated by a function."""

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.bijectors.batchnorm import (
    BatchNormParams,
    batch_norm_forward,
    batch_norm_inverse,
    batch_statistics,
    check_batch_norm,
)
from dgmjax.checks import check_float_event
from dgmjax.layers.bijector import Bijector, event_axes
from dgmjax.layers.serialization.recorded import recorded


@recorded
class BatchNorm(Bijector):
    """``z = (x - m) exp(gamma) / sqrt(v + epsilon) + beta`` with the running mean ``m`` and variance ``v`` of the data.

    ``log |det dz/dx| = sum (gamma - log(v + epsilon) / 2)`` over the event. One value of each a feature, the last axis
    of the event. ``beta`` and ``gamma`` are learned; ``m`` and ``v`` are data (``nnx.BatchStat``), the same for
    every batch: an exact bijector of single events. Training (`dgmjax.objectives.maximum_likelihood`, the ELBO with a
    flow as prior) calls `inverse_and_update`, which uses the statistics of the batch instead, and keeps the new running
    ones. Where latents become data, in samples and in posteriors, the running ones are used in training too. Starts
    with ``m = beta = gamma = 0`` and ``v = 1``; `with_data_init` sets ``m`` and ``v`` from data, in one go from a whole
    training set if wanted; anew (as MAF does before each evaluation) after `dgmjax.layers.forget_data_init`.

    Args:
      event_shape: shape of one event, of rank 1 or more.
      momentum: share of the old running statistics that an update keeps, in ``[0, 1)``.
      epsilon: added to the variance.

    Raises:
      ValueError: scalar events, or ``momentum`` or ``epsilon`` out of range.

    Source: Dinh et al., 2017, arXiv:1605.08803, appendix E; Papamakarios et al., 2017, arXiv:1705.07057,
      appendix "Batch normalization".
    """

    reach = "finite"

    def __init__(self, event_shape: Sequence[int], *, momentum: float = 0.9, epsilon: float = 1e-5):
        if len(event_shape) == 0:
            raise ValueError(
                "BatchNorm: expected an event with at least one axis, got event_shape (); use (1,)."
            )
        check_batch_norm(momentum, epsilon)
        self.event_shape = tuple(event_shape)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        features = self.event_shape[-1:]
        self.mean = nnx.BatchStat(jnp.zeros(features, jnp.float32))
        self.variance = nnx.BatchStat(jnp.ones(features, jnp.float32))
        self.offset = nnx.Param(jnp.zeros(features, jnp.float32))
        self.log_gain = nnx.Param(jnp.zeros(features, jnp.float32))

    def forward_and_log_det(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent to data, with the running statistics."""
        params = self._params(self.mean[...], self.variance[...])
        x, log_derivative = batch_norm_forward(z, params, epsilon=self.epsilon)
        return x, log_derivative.sum(event_axes(self.event_shape))

    def inverse_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Data to latent, with the running statistics."""
        return self._inverse(x, self.mean[...], self.variance[...])

    def inverse_and_update(
        self,
        x: jax.Array,
        context: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, Self]:
        """Data to latent with the statistics of the batch ``x``, and the module with new running statistics.

        ``m <- momentum m + (1 - momentum) mean(x)``, and ``v`` likewise with the variance (divided by the number of
        values). Gradients flow through the statistics of the batch, but not into the running ones. The events of a
        batch are not independent here, so the log-determinant is the customary one, the statistics held fixed, and no
        exact density; report likelihoods with `inverse_and_log_det`.

        Args:
          x: data, ``[*batch, *event]``, at least two values a feature.
          context: not used.
          key: not used.

        Returns:
          ``z`` of the shape of ``x``, the log-determinant ``[*batch]``, and the new module; this one stays as it is.

        Raises:
          ValueError: a single value a feature, which has no variance.
        """
        del context, key
        mean, variance = self._batch_statistics(x, "inverse_and_update")
        z, log_det = self._inverse(x, mean, variance)
        keep, take = self.momentum, 1.0 - self.momentum
        new = self._with_statistics(
            keep * self.mean[...] + take * mean, keep * self.variance[...] + take * variance
        )
        return z, log_det, new

    def forward_in_training(
        self,
        z: jax.Array,
        context: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Impossible: the latents do not tell the statistics that the batch of data had.

        Raises:
          NotImplementedError: always.
        """
        raise NotImplementedError(
            "BatchNorm.forward_in_training: latents normalised by the statistics of their own batch do not determine "
            "the data, so a reversible stack cannot rebuild its activations here. Use dgmjax.ActNorm, put the "
            "normalisation into the networks of couplings (dgmjax.nets.NetBatchNorm), or build the model with "
            "reversible=False; remat=True saves memory too."
        )

    def with_data_init(self, x: jax.Array, context: jax.Array | None = None) -> Self:
        """Running statistics of ``x`` alone: every feature of the latents gets mean ``beta`` and scale ``exp(gamma)``.

        Raises:
          ValueError: a single value a feature, which has no variance.
        """
        del context
        return self._with_statistics(*self._batch_statistics(x, "with_data_init"))

    def _params(self, mean: jax.Array, variance: jax.Array) -> BatchNormParams:
        return BatchNormParams(mean, variance, self.offset[...], self.log_gain[...])

    def _inverse(
        self, x: jax.Array, mean: jax.Array, variance: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        z, log_derivative = batch_norm_inverse(
            x, self._params(mean, variance), epsilon=self.epsilon
        )
        return z, log_derivative.sum(event_axes(self.event_shape))

    def _batch_statistics(self, x: jax.Array, method: str) -> tuple[jax.Array, jax.Array]:
        check_float_event(x, self.event_shape, where=f"BatchNorm.{method}")
        mean, variance = batch_statistics(x, where=f"BatchNorm.{method}")
        return mean.astype(x.dtype), variance.astype(x.dtype)

    def _with_statistics(self, mean: jax.Array, variance: jax.Array) -> Self:
        new = nnx.clone(self)
        for running, value in ((new.mean, mean), (new.variance, variance)):
            running[...] = jax.lax.stop_gradient(value).astype(running[...].dtype)
        return new
