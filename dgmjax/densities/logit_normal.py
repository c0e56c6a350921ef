"""The logit-normal distribution on ``(0, 1)``: ``x = sigmoid(loc + s e)``, ``e ~ N(0, 1)``.

Parameters ``loc`` and ``log_scale`` (natural log of ``s``) are scalars or of the shape of ``x``.

Source: Aitchison and Shen, 1980, *Logistic-normal distributions*, Biometrika 67(2), with two categories.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.densities._arguments import broadcast_arguments
from dgmjax.densities.normal import normal_log_prob
from dgmjax.numerics import ends
from dgmjax.numerics.compiled import compiled


@compiled
def logit_normal_log_prob(x: jax.Array, loc: ArrayLike, log_scale: ArrayLike) -> jax.Array:
    """``log N(logit x; loc, s^2) - log x - log(1 - x)`` in nats, elementwise.

    Returns:
      Shape of ``x``; ``-inf`` with zero gradient outside ``(0, 1)`` and at its ends, where the density vanishes.
    """
    x, loc, log_scale = broadcast_arguments(x, loc, log_scale)
    beyond = (x <= 0) | (x >= 1)
    x = jnp.where(beyond, 0.5, x)
    log_x, log_rest = jnp.log(x), jnp.log1p(-x)
    log_prob = normal_log_prob(log_x - log_rest, loc, log_scale)
    return ends.outside(beyond, log_prob - log_x - log_rest)


@compiled
def logit_normal_sample(
    key: jax.Array, loc: ArrayLike, log_scale: ArrayLike, *, sample_shape: tuple[int, ...] = ()
) -> jax.Array:
    """``sigmoid(loc + s e)``, ``e ~ N(0, 1)``, reparametrized.

    Returns:
      ``[*sample_shape, *broadcast shape of the parameters]``, strictly inside ``(0, 1)``: what rounds to an end is
      moved to the float beside it, where the log-density is finite.
    """
    loc, log_scale = jnp.asarray(loc), jnp.asarray(log_scale)
    shape = (*sample_shape, *np.broadcast_shapes(loc.shape, log_scale.shape))
    noise = jax.random.normal(key, shape, jnp.result_type(loc, log_scale))
    return _inside(
        jnp.broadcast_to(loc, shape) + jnp.exp(jnp.broadcast_to(log_scale, shape)) * noise
    )


def _inside(logit: jax.Array) -> jax.Array:
    limits = jnp.finfo(logit.dtype)
    return jnp.clip(jax.nn.sigmoid(logit), limits.tiny, 1.0 - limits.epsneg)
