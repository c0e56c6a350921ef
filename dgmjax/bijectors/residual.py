"""Residual maps ``z = x + g(x)`` with a contraction ``g``: inverse by fixed point, and four log-determinants.

What has to contract is ``g``: ``|g(x) - g(y)| <= L |x - y|`` with ``L < 1``, sufficient for ``x + g(x)`` to be
invertible, not necessary. The sum itself need not contract and may stretch by up to ``1 + L``.

Every function takes ``g(x, params)`` with the shape of ``x``, ``[*batch, *event]``, that treats events independently.
Arrays reach ``g`` through ``params`` alone, never by closure: gradients for them are those of the implicit function
theorem or of the estimator. The direction ``z = x + g(x)`` is the papers' and runs from data to latent.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.numerics import prng
from dgmjax.numerics.fixed_point import Branch
from dgmjax.numerics.sharding import varying

# k, (J^T)^k v, weight, value, w.
_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def exact_log_det(g: Branch, params: Any, x: jax.Array, *, event_ndim: int = 1) -> jax.Array:
    """``log |det (I + J)|`` with the whole Jacobian ``J`` of ``g``: ``[*batch, *event] -> [*batch]``.

    For events of size ``D`` this takes ``D`` Jacobian-vector products, ``D^2`` numbers an event, and one LU
    factorisation.
    """
    params, x = varying((params, x))
    batch, event = _split_shape(x, event_ndim)
    size = math.prod(event)
    _, jacobian = jax.linearize(lambda x: g(x, params), x)

    def column(direction: jax.Array) -> jax.Array:
        direction = varying(jnp.broadcast_to(direction, x.shape), x)
        return jacobian(direction).reshape(*batch, size)

    eye = jnp.eye(size, dtype=x.dtype)
    columns = jax.vmap(column, out_axes=-1)(eye.reshape(size, *event))
    return jnp.linalg.slogdet(columns + jnp.broadcast_to(eye, columns.shape))[1]


@functools.partial(jax.jit, static_argnums=0, static_argnames=("num_terms", "event_ndim"))
def truncated_log_det(
    g: Branch,
    params: Any,
    x: jax.Array,
    probes: jax.Array,
    *,
    num_terms: int,
    event_ndim: int = 1,
) -> jax.Array:
    """``sum_{k=1}^n (-1)^(k+1) v^T J^k v / k``, the mean over the probes ``v``: ``[*batch]``.

    The expectation over probes with ``E[v v^T] = I`` is the truncated series of ``log det (I + J)``, whose error is at
    most ``D L^(n+1) / ((n + 1) (1 - L))``: a biased estimate. The probes ``sqrt(D) e_i`` give its exact value.

    Args:
      g: see the module.
      params: pytree of arrays.
      x: ``[*batch, *event]``.
      probes: ``[num_probes, *batch, *event]``.
      num_terms: ``n``.
      event_ndim: number of axes of an event.

    Source: Behrmann et al., 2019, arXiv:1811.00995, section 3 and algorithm 2.
    """
    params, x, probes = varying((params, x, probes))
    _, jacobian = jax.linearize(lambda x: g(x, params), x)
    signs = [(1.0 if k % 2 else -1.0) / k for k in range(1, num_terms + 1)]

    def one_probe(probe: jax.Array) -> jax.Array:
        def term(power: jax.Array, factor: jax.Array) -> tuple[jax.Array, jax.Array]:
            power = jacobian(power)
            return power, factor * _sum(probe * power, event_ndim)

        return jax.lax.scan(term, probe, jnp.asarray(signs, x.dtype))[1].sum(0)

    return jax.vmap(one_probe)(probes).mean(0)


@functools.partial(
    jax.jit, static_argnums=0, static_argnames=("num_terms", "stop_probability", "event_ndim")
)
def russian_roulette_log_det(
    g: Branch,
    params: Any,
    x: jax.Array,
    key: jax.Array,
    *,
    num_terms: int = 2,
    stop_probability: float = 0.25,
    event_ndim: int = 1,
) -> jax.Array:
    """``sum_{k=1}^N (-1)^(k+1) / (k P(N >= k)) v^T J^k v``: an unbiased estimate of ``log det (I + J)``, ``[*batch]``.

    ``N`` is ``num_terms`` plus a geometric number of further terms, ``P(N >= num_terms + j) = (1 - p)^j``; one ``N``
    a key, one Rademacher probe ``v`` an event.

    The gradient is an estimate of its own, also unbiased, from the same ``N`` and ``v`` and the Neumann series of
    ``(I + J)^-1``: that of ``w^T J v`` with ``w = sum_{k=0}^N (-1)^k / P(N >= k) (J^T)^k v`` and ``v`` held fixed.
    Its memory does not grow with ``N``. It holds for first derivatives, forward and reverse, not for second ones.

    Both variances are finite if the spectral radius of ``J`` is below ``sqrt(1 - p)``. The weights of a Poisson
    number of terms, which the paper uses for images, grow faster than any power: their variance is infinite unless
    ``J`` is nilpotent.

    Args:
      g: see the module.
      params: pytree of arrays.
      x: ``[*batch, *event]``.
      key: typed key of ``N`` and ``v``; one, or one an event.
      num_terms: terms that are always computed, at least 0.
      stop_probability: ``p``, strictly between 0 and 1; ``1 / p - 1`` further terms are expected.
      event_ndim: number of axes of an event.

    Source: Chen et al., 2019, *Residual Flows for Invertible Generative Modeling*, arXiv:1906.02735,
      sections 3.1 and 3.2 (equation 8 is the gradient).
    """
    params, x, key = varying((params, x, key))
    count_key, probe_key = prng.split(key)
    geometric = functools.partial(jax.random.geometric, p=stop_probability, dtype=jnp.int32)
    last = (
        num_terms - 1 + prng.draw(lambda k, shape: geometric(k, shape=shape), count_key, key.shape)
    )
    probe = rademacher_probes(probe_key, x)[0]
    # Stopped before the loop, which reverse mode could not pass.
    fixed, at = jax.lax.stop_gradient((params, x))
    _, transposed = jax.vjp(lambda x: g(x, fixed), at)
    growth = 1.0 / (1.0 - stop_probability)

    def term(state: _State) -> _State:
        k, power, weight, value, w = state
        (power,) = transposed(power)
        weight = -weight * jnp.where(k > num_terms, growth, 1.0).astype(x.dtype)
        taken = jnp.broadcast_to(jnp.where(k <= last, weight, jnp.zeros_like(weight)), batch)
        value = value - taken / k.astype(x.dtype) * _sum(probe * power, event_ndim)
        return k + 1, power, weight, value, w + taken.reshape(*batch, *(1,) * event_ndim) * power

    batch, _ = _split_shape(x, event_ndim)
    last = last.reshape(*last.shape, *(1,) * (len(batch) - last.ndim if last.ndim else 0))
    one = jnp.ones((), jnp.int32)
    state = (one, probe, jnp.ones((), x.dtype), jnp.zeros(batch, x.dtype), probe)
    state = varying(state, x)
    _, _, _, value, w = jax.lax.while_loop(lambda state: state[0] <= last.max(), term, state)
    _, pushed = jax.jvp(lambda x: g(x, params), (x,), (probe,))
    surrogate = _sum(w * pushed, event_ndim)
    return value + (surrogate - jax.lax.stop_gradient(surrogate))


def rademacher_probes(key: jax.Array, x: jax.Array, num_probes: int = 1) -> jax.Array:
    """Independent signs ``[num_probes, *x.shape]``, the probes of smallest variance with independent elements.

    Source: Hutchinson, 1990, *A stochastic estimator of the trace of the influence matrix*.
    """
    keys = prng.split(key, num_probes)
    return jnp.stack([prng.draw(_signs(x.dtype), key, x.shape) for key in keys])


def _signs(dtype: Any) -> prng.Draw:
    return lambda key, shape: jax.random.rademacher(key, shape, dtype)


def _split_shape(x: jax.Array, event_ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    split = x.ndim - event_ndim
    return x.shape[:split], x.shape[split:]


def _sum(x: jax.Array, event_ndim: int) -> jax.Array:
    return x.sum(tuple(range(-event_ndim, 0)))
