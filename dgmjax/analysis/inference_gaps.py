"""Where a variational bound loses: in the family of posteriors, or in the encoder."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgmjax.checks import batch_shape
from dgmjax.numerics import prng
from dgmjax.numerics.rows import map_rows


class InferenceGaps(NamedTuple):
    """The ELBO of an encoder, the best one of its family of posteriors, and ``log p(x)``: ``[*batch]``, nats.

    ``log p(x) - ELBO[q] = (log p(x) - ELBO[q*]) + (ELBO[q*] - ELBO[q])``: approximation gap and amortisation gap, ``q``
    being the posterior with the encoder's features, and ``q*`` the one with the features that are best for this ``x``.

    Attributes:
      amortized_elbo: ``ELBO[q]``.
      local_elbo: ``ELBO[q*]``.
      log_prob: the estimate of ``log p(x)``, at least ``local_elbo``.
      features: of ``q*``, as the model's ``encode`` returns them.
      standard_errors: of ``"amortized_elbo"``, ``"local_elbo"`` and ``"amortization_gap"``, whose two parts share their
        noise: ``[*batch]`` each.
    """

    amortized_elbo: jax.Array
    local_elbo: jax.Array
    log_prob: jax.Array
    features: Any
    standard_errors: dict[str, jax.Array]

    @property
    def approximation_gap(self) -> jax.Array:
        """``log p(x) - ELBO[q*] = KL(q* || p(z | x))``: what the family of posteriors loses."""
        return self.log_prob - self.local_elbo

    @property
    def amortization_gap(self) -> jax.Array:
        """``ELBO[q*] - ELBO[q]``: what the encoder loses."""
        return self.local_elbo - self.amortized_elbo

    @property
    def inference_gap(self) -> jax.Array:
        """``log p(x) - ELBO[q] = KL(q || p(z | x))``, the sum of both."""
        return self.log_prob - self.amortized_elbo

    def __str__(self) -> str:
        """The means, e.g. ``log p(x) -86.27 = ELBO -89.53 + 2.41 amortisation gap + 0.85 approximation gap``."""
        amortization, approximation = self.amortization_gap.mean(), self.approximation_gap.mean()
        return (
            f"log p(x) {self.log_prob.mean():.2f} = ELBO {self.amortized_elbo.mean():.2f} + {amortization:.2f} "
            f"amortisation gap + {approximation:.2f} approximation gap"
        )


def inference_gaps(
    model: Any,
    x: jax.Array,
    key: jax.Array,
    *,
    steps: int = 1000,
    learning_rate: float = 0.02,
    samples_per_step: int = 32,
    num_samples: int = 1000,
    batch_size: int = 1,
    log_prob: jax.Array | None = None,
) -> InferenceGaps:
    """Measure approximation gap and amortisation gap of every example.

    ``q*`` comes from the encoder's features by Adam on the ELBO, as a function of the features of this example; the
    learning rate falls to 0 along a cosine. Where that does not raise the ELBO of other samples, the encoder's features
    stay. ``log p(x)`` is the importance-weighted bound with ``q*``, so the approximation gap is never negative, and too
    small wherever that bound is loose: a tighter one can be given. With that, it is the larger of two noisy lower
    bounds, which can exceed ``log p(x)`` by their noise. The model itself, decoder and posterior, does not change: a
    flow whose parameters are not among the features is the same map before and after.

    Args:
      model: a `dgmjax.VAE` or another `dgmjax.models.LatentVariableModel`.
      x: events ``[*batch, *event]``.
      key: one, or one an example.
      steps: of Adam.
      learning_rate: the first one. A feature can move by about half of ``steps * learning_rate``.
      samples_per_step: samples an example behind each gradient, all in memory.
      num_samples: ``K``, samples an example of the final bounds.
      batch_size: samples of these at a time.
      log_prob: another lower bound on ``log p(x)``, ``[*batch]``, e.g. ``annealed_importance(...).log_prob``, or its
        exact value.

    Raises:
      TypeError: integers where floats are needed, or the reverse.
      ValueError: wrong event shape, a ``log_prob`` of another shape, or fewer than 1 step or 2 samples.

    Source: Cremer, Li and Duvenaud, 2018, *Inference suboptimality in variational autoencoders*, arXiv:1801.03558,
      equations 3 to 5.
    """
    batch = batch_shape(x, model.event_shape, where="inference_gaps")
    least = {
        "steps": (steps, 1),
        "samples_per_step": (samples_per_step, 1),
        "batch_size": (batch_size, 1),
        "num_samples": (num_samples, 2),
    }
    for name, (count, minimum) in least.items():
        if count < minimum:
            raise ValueError(f"inference_gaps: {name} must be at least {minimum}, got {count}.")
    if log_prob is not None and jnp.shape(log_prob) != batch:
        raise ValueError(
            f"inference_gaps: expected one log_prob an example, {batch}, got {jnp.shape(log_prob)}."
        )
    x = jnp.asarray(x)
    ascent_key, choice_key, final_key = prng.split(key, 3)
    features = _encode(model, x)
    local = _ascend(
        model,
        x,
        features,
        ascent_key,
        steps=steps,
        learning_rate=float(learning_rate),
        samples_per_step=samples_per_step,
    )
    sampled = functools.partial(
        _log_weights, model, x, num_samples=num_samples, batch_size=batch_size
    )
    better = sampled(local, choice_key).mean(0) > sampled(features, choice_key).mean(0)
    local = jax.tree.map(
        lambda new, old: jnp.where(
            better.reshape(*batch, *(1,) * (new.ndim - len(batch))), new, old
        ),
        local,
        features,
    )
    of_local, of_amortized = sampled(local, final_key), sampled(features, final_key)
    estimate = jax.nn.logsumexp(of_local, axis=0) - math.log(num_samples)
    if log_prob is not None:
        estimate = jnp.maximum(estimate, jnp.asarray(log_prob, estimate.dtype))
    spread = {
        "amortized_elbo": of_amortized,
        "local_elbo": of_local,
        "amortization_gap": of_local - of_amortized,
    }
    return InferenceGaps(
        of_amortized.mean(0),
        of_local.mean(0),
        estimate,
        local,
        {name: part.std(0, ddof=1) / math.sqrt(num_samples) for name, part in spread.items()},
    )


@jax.jit
def _encode(model: Any, x: jax.Array) -> Any:
    return model.encode(x)


@functools.partial(jax.jit, static_argnames=("steps", "learning_rate", "samples_per_step"))
def _ascend(
    model: Any,
    x: jax.Array,
    features: Any,
    key: jax.Array,
    *,
    steps: int,
    learning_rate: float,
    samples_per_step: int,
) -> Any:
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

    def loss(features: Any, key: jax.Array) -> jax.Array:
        """Summed over the examples, so the gradient of each is its own."""

        def one(index: jax.Array) -> jax.Array:
            return model.terms(x, features, seed=prng.fold_in(key, index)).elbo

        return -jax.vmap(one)(jnp.arange(samples_per_step)).mean(0).sum()

    def step(state: tuple[Any, Any], index: jax.Array) -> tuple[tuple[Any, Any], None]:
        features, opt_state = state
        grads = jax.grad(loss)(features, prng.fold_in(key, index))
        # Schedules of optax mix integers and floats.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(features, updates), opt_state), None

    (features, _), _ = jax.lax.scan(step, (features, optimizer.init(features)), jnp.arange(steps))
    return features


@functools.partial(jax.jit, static_argnames=("num_samples", "batch_size"))
def _log_weights(
    model: Any,
    x: jax.Array,
    features: Any,
    key: jax.Array,
    *,
    num_samples: int,
    batch_size: int,
) -> jax.Array:
    """``log p(x, z_k) - log q(z_k | x)``, ``[num_samples, *batch]``: its mean estimates the ELBO."""
    return map_rows(
        jax.vmap(lambda index: model.terms(x, features, seed=prng.fold_in(key, index)).log_weight),
        jnp.arange(num_samples),
        batch_size=batch_size,
    )
