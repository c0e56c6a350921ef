"""An optimizer for each member of an ensemble."""

from typing import Any

import jax
import optax


def per_member(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """``optimizer`` for each member of a `dgmjax.distributions.Ensemble` alone.

    Its clipping, moments and whatever else it computes are those of one member, along the first axis of all arrays.

    Args:
      optimizer: of one member, e.g. `dgmjax.training.default_optimizer`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from dgmjax.training import per_member
      >>> optimizer = per_member(optax.clip_by_global_norm(1.0))
      >>> gradients = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]])}
      >>> updates, _ = optimizer.update(gradients, optimizer.init(gradients))
      >>> [[round(float(u), 2) for u in member] for member in updates["w"]]
      [[0.6, 0.8], [0.3, 0.4]]
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            return jax.vmap(lambda updates, state: optimizer.update(updates, state))(updates, state)
        return jax.vmap(optimizer.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(optimizer.init), update)
