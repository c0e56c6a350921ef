"""The evidence lower bound: its terms, its estimate, and the loss of variational autoencoders."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.distributions.running_statistics import has_statistics
from dgmjax.numerics import prng
from dgmjax.numerics.compiled import compiled
from dgmjax.objectives.maximum_likelihood import Batch, likelihood_metrics


class ELBOTerms(NamedTuple):
    """What one sample ``z ~ q(z | x)`` of the posterior says about ``log p(x)``, in nats.

    Attributes:
      log_likelihood: ``log p(x | z)``, ``[*batch]``.
      log_prior: ``log p(z)``, ``[*batch]``.
      log_posterior: ``log q(z | x)``, ``[*batch]``.
      kl: ``KL(q(z | x) || p(z))`` in groups of latents, ``[*batch, groups]``: in closed form where there is one, else
        this sample's ``log q(z | x) - log p(z)``.
    """

    log_likelihood: jax.Array
    log_prior: jax.Array
    log_posterior: jax.Array
    kl: jax.Array

    @property
    def elbo(self) -> jax.Array:
        """``E_q [log p(x | z)] - KL(q(z | x) || p(z))``, one sample of its first term: ``[*batch]``."""
        return self.log_likelihood - self.kl.sum(-1)

    @property
    def log_weight(self) -> jax.Array:
        """``log p(x | z) + log p(z) - log q(z | x)``, whose exponential has the expectation ``p(x)``: ``[*batch]``."""
        return self.log_likelihood + self.log_prior - self.log_posterior


@compiled
def elbo(model: Any, x: jax.Array, key: jax.Array, *, num_samples: int = 1) -> jax.Array:
    """``E_q [log p(x | z)] - KL(q(z | x) || p(z)) <= log p(x)`` in nats: ``[*batch, *event] -> [*batch]``.

    The difference is ``KL(q(z | x) || p(z | x))``. The lectures print ``p(x) >= ELBO`` without the logarithm
    (errata E-L5-4, E-A4-2) and ``q(x | z)`` in the denominator (E-D3-6).

    Args:
      model: a `dgmjax.VAE` or another `dgmjax.models.LatentVariableModel`.
      x: events.
      key: of the samples; one, or one an example.
      num_samples: samples whose mean is taken; it does not tighten the bound (`iwae` does).

    Source: Kingma and Welling, 2014, *Auto-encoding variational Bayes*, arXiv:1312.6114, equation 3.
    """
    if num_samples == 1:
        return model.elbo_terms(x, seed=key).elbo
    samples = jax.lax.map(
        lambda index: model.elbo_terms(x, seed=prng.fold_in(key, index)).elbo,
        jnp.arange(num_samples),
    )
    return samples.mean(0)


@compiled
def iwae(
    model: Any, x: jax.Array, key: jax.Array, *, num_samples: int, batch_size: int = 1
) -> jax.Array:
    """``E [log (1/K) sum_k p(x, z_k) / q(z_k | x)] <= log p(x)`` in nats: ``[*batch, *event] -> [*batch]``.

    Tighter with every sample, and never looser than the ELBO. Arguments as in `elbo`; ``batch_size`` samples
    are computed at a time, so memory does not grow with ``num_samples``.

    Source: Burda et al., 2016, *Importance weighted autoencoders*, arXiv:1509.00519, equation 8.
    """
    return model.log_prob(x, seed=key, num_samples=num_samples, batch_size=batch_size)


@dataclasses.dataclass(frozen=True)
class NegativeELBO:
    """The training loss ``-mean (E_q [log p(x | z)] - beta KL)`` with dropout on; a loss for `dgmjax.fit`.

    The metrics of `likelihood_metrics` are of the bound itself, whatever ``beta``; ``reconstruction``
    (``-log p(x | z)``) and ``kl`` are its two parts. Validation takes `negative_log_likelihood`.

    Attributes:
      beta: factor on the divergence; 1 is the bound, others are a beta-VAE's objective.
      warmup_steps: the factor rises linearly from 0 to ``beta`` over so many steps.
      free_bits: nats a group of latents that cost nothing: ``sum_g max(free_bits, mean_batch KL_g)``.

    Source: Higgins et al., 2017 (beta); Sonderby et al., 2016, arXiv:1602.02282, section 2.3 (warm-up); Kingma et al.,
    2016, arXiv:1606.04934, appendix C.8 (free bits).
    """

    beta: float = 1.0
    warmup_steps: int = 0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        """Reject bad settings at construction.

        Raises:
          ValueError: a negative number.
        """
        if self.beta < 0 or self.warmup_steps < 0 or self.free_bits < 0:
            raise ValueError(
                f"NegativeELBO: expected no negative number, got beta={self.beta}, warmup_steps="
                f"{self.warmup_steps}, free_bits={self.free_bits}."
            )

    def __call__(
        self, model: Any, batch: Batch, key: jax.Array, *, step: jax.Array | None = None
    ) -> tuple[Any, ...]:
        """Loss and metrics, and the model with new running statistics if it has any; no ``step``, no warm-up."""
        seed, dropout_key = prng.split(key)
        new: tuple[Any, ...] = ()
        if has_statistics(model) and hasattr(model, "elbo_terms_and_update"):
            terms, *new = model.elbo_terms_and_update(batch["x"], seed=seed, key=dropout_key)
        else:
            terms = model.elbo_terms(batch["x"], seed=seed, key=dropout_key)
        metrics = likelihood_metrics(model, batch["x"], terms.elbo)
        _, count = metrics["nats"]
        groups = terms.kl.reshape(-1, terms.kl.shape[-1]).mean(0)
        if self.free_bits:
            groups = jnp.maximum(groups, self.free_bits)
        beta: jax.Array | float = self.beta
        if self.warmup_steps and step is not None:
            beta = beta * jnp.minimum(step.astype(count.dtype) / self.warmup_steps, 1.0)
        loss = -terms.log_likelihood.mean() + beta * groups.sum()
        metrics |= {
            "reconstruction": (-terms.log_likelihood.sum(), count),
            "kl": (terms.kl.sum(), count),
        }
        return loss, metrics, *new
