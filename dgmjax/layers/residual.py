"""The residual layer: ``z = x + g(x)`` with a contractive network ``g``."""

from collections.abc import Sequence
from typing import Any, Self

import jax
from flax import nnx

from dgmjax.bijectors.residual import (
    exact_log_det,
    rademacher_probes,
    russian_roulette_log_det,
    truncated_log_det,
)
from dgmjax.layers.bijector import Bijector
from dgmjax.numerics.fixed_point import residual_fixed_point

LOG_DETS = ("exact", "truncated", "unbiased")


class Residual(Bijector):
    """``z = x + g(x)``, ``log |det dz/dx| = log |det (I + J_g(x))|``, for a network ``g`` with Lipschitz constant < 1.

    The published formula is ``inverse``, data to latent; ``forward`` solves it by fixed-point iteration, with
    implicit gradients. Without a key the log-determinant is exact, whatever ``log_det`` says: ``D`` Jacobian-vector
    products and one determinant of size ``D`` for an event of ``D`` elements, cheaper than any series of exact
    traces. A key, as `dgmjax.fit` passes in training, switches to the estimator:

    - ``"exact"``: none, the key is ignored.
    - ``"truncated"``: ``num_terms`` terms of the power series with one probe; biased.
    - ``"unbiased"``: ``num_terms`` terms, then Russian roulette; unbiased, with an unbiased gradient in constant
      memory. Log-likelihoods with a key are then estimates, not bounds: report those without.

    The key never changes the map itself.

    Args:
      event_shape: shape of one event.
      net: module ``net(x)``, or ``net(x, context)`` if ``context_shape`` is given, of the shape of ``x``, contractive
        in ``x`` (its Lipschitz constant counts, not that of ``x + net(x)``), e.g. `dgmjax.nets.LipschitzMLP` or
        `dgmjax.nets.LipschitzConv`. If it has a method ``normalized()``, that is called once a pass and its result,
        a callable pytree, many times.
      context_shape: shape of one context, or None.
      log_det: see above.
      num_terms: see above.
      stop_probability: of the roulette, see `dgmjax.bijectors.russian_roulette_log_det`.

    Raises:
      ValueError: unknown ``log_det``, or ``num_terms`` or ``stop_probability`` out of range.

    Source: Behrmann et al., 2019, arXiv:1811.00995; Chen et al., 2019, arXiv:1906.02735.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        net: nnx.Module,
        *,
        context_shape: Sequence[int] | None = None,
        log_det: str = "exact",
        num_terms: int = 5,
        stop_probability: float = 0.25,
    ):
        if log_det not in LOG_DETS:
            raise ValueError(f"Residual: expected log_det in {LOG_DETS}, got {log_det!r}.")
        if num_terms < 1 or not 0.0 < stop_probability < 1.0:
            raise ValueError(
                f"Residual: expected num_terms >= 1 and 0 < stop_probability < 1, got {num_terms} and "
                f"{stop_probability}."
            )
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.net = net
        self.log_det = log_det
        self.num_terms = num_terms
        self.stop_probability = stop_probability

    def forward_and_log_det(
        self, z: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Latent to data, by fixed-point iteration; NaN where ``net`` does not contract."""
        params = self._params(context)
        x = residual_fixed_point(_branch, params, z, event_ndim=len(self.event_shape))
        return x, -self._log_det(params, x, key)

    def inverse_and_log_det(
        self, x: jax.Array, context: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Data to latent."""
        params = self._params(context)
        return x + _branch(x, params), self._log_det(params, x, key)

    def with_power_iteration(self, num_steps: int = 10) -> Self:
        """A new module whose ``net`` brought its power-iteration vectors up to date; the same if it keeps none."""
        if not hasattr(self.net, "with_power_iteration"):
            return self
        new = nnx.clone(self)
        new.net = self.net.with_power_iteration(num_steps)
        return new

    def _params(self, context: jax.Array | None) -> Any:
        net: Any = self.net
        net = net.normalized() if hasattr(net, "normalized") else net
        return net, None if self.context_shape is None else context

    def _log_det(self, params: Any, x: jax.Array, key: jax.Array | None) -> jax.Array:
        event_ndim = len(self.event_shape)
        if key is None or self.log_det == "exact":
            return exact_log_det(_branch, params, x, event_ndim=event_ndim)
        if self.log_det == "truncated":
            return truncated_log_det(
                _branch,
                params,
                x,
                rademacher_probes(key, x),
                num_terms=self.num_terms,
                event_ndim=event_ndim,
            )
        return russian_roulette_log_det(
            _branch,
            params,
            x,
            key,
            num_terms=self.num_terms,
            stop_probability=self.stop_probability,
            event_ndim=event_ndim,
        )


# One function for all layers: it keys the cache of the compiled fixed-point loop.
def _branch(x: jax.Array, params: Any) -> jax.Array:
    net, context = params
    return net(x) if context is None else net(x, context)
