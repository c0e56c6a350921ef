"""Annealed importance sampling: the likelihood of a latent variable model without a posterior."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.checks import batch_shape, widened
from dgmjax.numerics import prng

_TARGET = 0.65  # the acceptance at which Hamiltonian Monte Carlo mixes best in many dimensions
_RATE = 0.1  # of the logarithm of the step size, a temperature
_STEEPNESS = 4.0  # of the schedule of temperatures


class AnnealedImportance(NamedTuple):
    """What annealed importance sampling found, for events of batch axes ``[*batch]``.

    Attributes:
      log_prob: ``log (1/K) sum_k w_k``, ``[*batch]``, nats: a lower bound on ``log p(x)`` in expectation.
      log_weights: ``log w_k`` of the chains, ``[num_chains, *batch]``; see `dgmjax.objectives.effective_sample_size`.
      acceptance: mean probability that a proposal was accepted, ``[*batch]``.
      step_size: the last one, ``[*batch]``.
      z: the ends of the chains, ``[num_chains, *batch, d]``; with the weights, samples of ``p(z | x)``.
    """

    log_prob: jax.Array
    log_weights: jax.Array
    acceptance: jax.Array
    step_size: jax.Array
    z: jax.Array


class _Point(NamedTuple):
    """Latents ``[*batch, chains, d]``, their two log-densities ``[*batch, chains]`` and the gradients of these."""

    z: jax.Array
    log_prior: jax.Array
    log_likelihood: jax.Array
    prior_gradient: jax.Array
    likelihood_gradient: jax.Array


def annealed_importance(
    model: Any,
    x: jax.Array,
    key: jax.Array,
    *,
    num_temperatures: int = 1000,
    num_chains: int = 16,
    num_leapfrog: int = 10,
    step_size: ArrayLike = 0.1,
    num_pilots: int = 4,
) -> AnnealedImportance:
    """Estimate ``log p(x)`` along ``p_t(z) ~ p(z) p(x | z)^beta_t`` from the prior to the posterior.

    ``log w = sum_t (beta_t - beta_{t-1}) log p(x | z_{t-1})``, ``z_0 ~ p(z)``, and ``z_t`` from ``z_{t-1}`` by one
    transition of Hamiltonian Monte Carlo that leaves ``p_t`` invariant. ``beta_t`` is a sigmoid from 0 to 1, with small
    steps at both ends. ``E[w] = p(x)``: ``log_prob`` is a lower bound in expectation, and exceeds ``log p(x)`` by ``b``
    nats with a probability of at most ``exp(-b)``. It is tight if there are many temperatures; one is
    `dgmjax.objectives.prior_monte_carlo`.

    The step size of each example follows the acceptance of pilot chains towards 0.65, temperature by temperature.
    Adapted to the chains whose weights are averaged, it would depend on where these are, the transitions would no
    longer leave ``p_t`` invariant, and the estimate could have either sign of error. The pilots' weights are therefore
    left out: given the pilots, step sizes are constants, and what is above holds exactly.

    Gradients of the likelihood: ``num_temperatures * num_leapfrog * (num_chains + num_pilots)`` an example, all chains
    at once.

    Args:
      model: `dgmjax.VAE`; any with ``prior_distribution()``, whose result has ``log_prob`` and ``sample``, and
        ``log_likelihood(x, z)``, differentiable in ``z``.
      x: events ``[*batch, *event]``.
      key: one, or one an example.
      num_temperatures: ``T``, the number of transitions.
      num_chains: ``K``, chains an example.
      num_leapfrog: leapfrog steps of a transition.
      step_size: of the first transition; a number, or one an example.
      num_pilots: chains an example that adapt the step size; 0 keeps it as it is.

    Raises:
      TypeError: integers where floats are needed, or the reverse.
      ValueError: wrong event shape, or a number below 1 (0 for the pilots).

    Source: Neal, 2001, *Annealed importance sampling*, arXiv:physics/9803008; Wu et al., 2017, arXiv:1611.04273, on
      decoders; Neal, 2011, *MCMC using Hamiltonian dynamics*, arXiv:1206.1901, on the acceptance.
    """
    counts = {
        "num_temperatures": (num_temperatures, 1),
        "num_chains": (num_chains, 1),
        "num_leapfrog": (num_leapfrog, 1),
        "num_pilots": (num_pilots, 0),
    }
    for name, (count, least) in counts.items():
        if count < least:
            raise ValueError(f"annealed_importance: {name} must be at least {least}, got {count}.")
    batch_shape(x, model.event_shape, where="annealed_importance")
    sizes = {name: count for name, (count, _) in counts.items()}
    return _run(model, jnp.asarray(x), key, step_size, **sizes)


@functools.partial(
    jax.jit, static_argnames=("num_temperatures", "num_chains", "num_leapfrog", "num_pilots")
)
def _run(
    model: Any,
    x: jax.Array,
    key: jax.Array,
    step_size: ArrayLike,
    *,
    num_temperatures: int,
    num_chains: int,
    num_leapfrog: int,
    num_pilots: int,
) -> AnnealedImportance:
    batch = batch_shape(x, model.event_shape, where="annealed_importance")
    prior = model.prior_distribution()
    events = jnp.expand_dims(x, len(batch))  # against the axis of the chains

    def point_at(z: jax.Array) -> _Point:
        log_prior, prior_vjp = jax.vjp(lambda z: widened(prior.log_prob(z)), z)
        log_likelihood, likelihood_vjp = jax.vjp(lambda z: model.log_likelihood(events, z), z)
        gradients = (
            prior_vjp(jnp.ones_like(log_prior))[0],
            likelihood_vjp(jnp.ones_like(log_likelihood))[0],
        )
        return _Point(z, log_prior.astype(log_likelihood.dtype), log_likelihood, *gradients)

    start_key, key = prng.split(key)
    point = point_at(
        prng.draw(
            lambda one, shape: prior.sample(seed=one, sample_shape=shape),
            start_key,
            (*batch, num_pilots + num_chains),
        )
    )
    dtype, log_dtype = point.z.dtype, point.log_likelihood.dtype

    def transition(
        point: _Point, beta: jax.Array, step: jax.Array, key: jax.Array
    ) -> tuple[_Point, jax.Array]:
        """The next point, and the probability of acceptance, ``[*batch, chains]``."""
        momentum_key, accept_key = prng.split(key)
        shape = point.z.shape
        momentum = prng.draw(
            lambda one, rest: jax.random.normal(one, rest, dtype), momentum_key, shape
        )
        step = step[..., None, None]

        def force(point: _Point) -> jax.Array:
            return point.prior_gradient + beta.astype(dtype) * point.likelihood_gradient

        def log_joint(point: _Point, momentum: jax.Array) -> jax.Array:
            kinetic = 0.5 * (momentum.astype(log_dtype) ** 2).sum(-1)
            return point.log_prior + beta * point.log_likelihood - kinetic

        def leapfrog(_: int, state: tuple[_Point, jax.Array]) -> tuple[_Point, jax.Array]:
            new = point_at(state[0].z + step * state[1])
            return new, state[1] + step * force(new)

        half = momentum + 0.5 * step * force(point)
        proposed, end = jax.lax.fori_loop(0, num_leapfrog, leapfrog, (point, half))
        end = end - 0.5 * step * force(proposed)
        log_ratio = log_joint(proposed, end) - log_joint(point, momentum)
        # A trajectory that overflows ends in NaN, and is rejected.
        accepted = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
        uniform = prng.draw(
            lambda one, rest: jax.random.uniform(one, rest, log_dtype), accept_key, shape[:-1]
        )
        moves = uniform < accepted

        def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(moves[..., None] if new.ndim > moves.ndim else moves, new, old)

        return jax.tree.map(chosen, proposed, point), accepted

    def anneal(
        state: tuple[_Point, jax.Array, jax.Array], inputs: tuple[jax.Array, ...]
    ) -> tuple[tuple[_Point, jax.Array, jax.Array], jax.Array]:
        point, log_weights, log_step = state
        index, beta, increment = inputs
        log_weights = log_weights + increment * point.log_likelihood
        point, accepted = transition(point, beta, jnp.exp(log_step), prng.fold_in(key, index))
        if num_pilots:
            excess = accepted[..., :num_pilots].mean(-1) - _TARGET
            log_step = log_step + _RATE * excess.astype(dtype)
        return (point, log_weights, log_step), accepted[..., num_pilots:].mean(-1)

    betas = _schedule(num_temperatures)
    state = (
        point,
        jnp.zeros_like(point.log_likelihood),
        jnp.broadcast_to(jnp.log(jnp.asarray(step_size, dtype)), batch),
    )
    inputs = (
        jnp.arange(num_temperatures),
        jnp.asarray(betas[1:], log_dtype),
        jnp.asarray(np.diff(betas), log_dtype),
    )
    (point, all_weights, log_step), acceptance = jax.lax.scan(anneal, state, inputs)
    log_weights = jnp.moveaxis(all_weights[..., num_pilots:], -1, 0)
    return AnnealedImportance(
        jax.nn.logsumexp(log_weights, axis=0) - math.log(num_chains),
        log_weights,
        acceptance.mean(0),
        jnp.exp(log_step),
        jnp.moveaxis(point.z[..., num_pilots:, :], -2, 0),
    )


def _schedule(num_temperatures: int) -> np.ndarray:
    """``beta_0 = 0, ..., beta_T = 1``: a sigmoid, scaled so that it begins and ends there."""
    sigmoid = 1.0 / (1.0 + np.exp(-_STEEPNESS * np.linspace(-1.0, 1.0, num_temperatures + 1)))
    return (sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0])
