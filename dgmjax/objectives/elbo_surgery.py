"""ELBO surgery: what a variational bound is made of, measured over a whole data set."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dgmjax.distributions.posteriors import PosteriorMixture
from dgmjax.numerics import prng
from dgmjax.numerics.moments import standard_error
from dgmjax.numerics.rows import map_rows


class ELBOSurgery(NamedTuple):
    """The mean ELBO of a data set and its parts, in nats an event.

    ``elbo = reconstruction - mutual_information - marginal_kl``, to rounding: the parts come from the same samples.
    With them ``rate = E KL(q(z | x) || p(z)) = mutual_information + marginal_kl = cross_entropy - posterior_entropy``.

    Attributes:
      elbo: ``E [log p(x | z) + log p(z) - log q(z | x)]``.
      reconstruction: ``E log p(x | z)``; its negative is the distortion.
      mutual_information: ``I_q[x, z] = E [log q(z | x) - log q(z)]``, at most ``log_n``.
      marginal_kl: ``KL(q(z) || p(z)) = E [log q(z) - log p(z)]``: the only part that knows the prior.
      cross_entropy: ``-E log p(z)``.
      posterior_entropy: ``-E log q(z | x)``.
      log_n: ``log n``, what the mutual information can be at most.
      standard_errors: of the first four, by name, over the codes.
      num_codes: codes over which the expectations were taken.
    """

    elbo: float
    reconstruction: float
    mutual_information: float
    marginal_kl: float
    cross_entropy: float
    posterior_entropy: float
    log_n: float
    standard_errors: dict[str, float]
    num_codes: int

    @property
    def rate(self) -> float:
        """``E KL(q(z | x) || p(z))``."""
        return self.mutual_information + self.marginal_kl

    def __str__(self) -> str:
        """E.g. ``ELBO -97.34 = -79.10 reconstruction - 6.85 mutual information (at most 6.91) - 11.39 marginal KL``."""
        return (
            f"ELBO {self.elbo:.2f} = {self.reconstruction:.2f} reconstruction - {self.mutual_information:.2f} mutual "
            f"information (at most {self.log_n:.2f}) - {self.marginal_kl:.2f} marginal KL"
        )


def elbo_surgery(
    model: Any,
    data: ArrayLike,
    key: jax.Array,
    *,
    num_codes: int | None = None,
    batch_size: int = 512,
) -> ELBOSurgery:
    """Take the mean ELBO of ``data`` apart, with ``q(z) = (1/n) sum_i q(z | x_i)`` over all of it.

    ``(1/n) sum_i KL(q(z | x_i) || p(z)) = I_q[x, z] + KL(q(z) || p(z))``. One code ``z_i ~ q(z | x_i)`` a row; the
    aggregated posterior is the mixture of all ``n`` posteriors, no estimate from a minibatch, which would be biased.
    Costs ``num_codes * n`` densities, in memory of a block of them.

    Args:
      model: `dgmjax.VAE`.
      data: events ``[n, *event]``.
      key: of the codes.
      num_codes: rows, drawn without replacement, that give codes; default all. The mixture has all rows in any case.
      batch_size: rows that are encoded, decoded and compared with all posteriors at a time.

    Raises:
      ValueError: more codes than rows.

    Source: Hoffman and Johnson, 2016, *ELBO surgery*, NIPS workshop on approximate inference, equation 9; Tomczak and
      Welling, 2018, arXiv:1705.07120, section 2.
    """
    data = np.asarray(data)
    n = len(data)
    count = n if num_codes is None else num_codes
    if not 1 <= count <= n:
        raise ValueError(f"elbo_surgery: num_codes must be in 1 .. {n}, got {count}.")
    features = encode_all(model, data, batch_size=batch_size)
    prior = _prior(model)
    row_key, code_key = jax.random.split(key)
    rows = np.asarray(jax.random.permutation(row_key, n))[:count]
    keys = prng.example_keys(code_key, count)

    def codes(rows: np.ndarray, keys: jax.Array) -> tuple[jax.Array, ...]:
        return _codes(model, prior, jnp.asarray(data[rows]), features, rows, keys)

    log_likelihood, log_prior, log_posterior, log_aggregate = (
        np.asarray(values, np.float64)
        for values in map_rows(codes, rows, keys, batch_size=batch_size)
    )
    terms = {
        "elbo": log_likelihood + log_prior - log_posterior,
        "reconstruction": log_likelihood,
        "mutual_information": log_posterior - log_aggregate,
        "marginal_kl": log_aggregate - log_prior,
    }
    return ELBOSurgery(
        **{name: float(values.mean()) for name, values in terms.items()},
        cross_entropy=float(-log_prior.mean()),
        posterior_entropy=float(-log_posterior.mean()),
        log_n=math.log(n),
        standard_errors={name: standard_error(values) for name, values in terms.items()},
        num_codes=count,
    )


def aggregated_posterior(model: Any, data: ArrayLike, *, batch_size: int = 512) -> PosteriorMixture:
    """``q(z) = (1/n) sum_i q(z | x_i)`` of all rows of ``data``: a density with ``log_prob`` and ``sample``."""
    return PosteriorMixture(
        model.posterior, encode_all(model, np.asarray(data), batch_size=batch_size)
    )


def hole_mass(
    model: Any, data: ArrayLike, key: jax.Array, *, num_samples: int = 2_000, level: float = 0.01
) -> float:
    """Share of the prior's mass in the holes of the aggregated posterior: where ``q(z)`` is lower than almost anywhere.

    ``P_{z ~ p}[q(z) < t]``, with ``t`` the ``level`` quantile of ``q(z)`` over codes ``z ~ q(z)``. A prior equal to
    ``q(z)`` has ``level``; more means samples from places that the decoder never saw.

    Args:
      model: `dgmjax.VAE`.
      data: what ``q(z)`` aggregates, ``[n, *event]``.
      key: of the samples.
      num_samples: of each distribution.
      level: what counts as a hole.

    Source: the holes of Rezende and Viola, 2018, arXiv:1810.00597; the calibration by a quantile is ours.
    """
    mixture = aggregated_posterior(model, data)
    code_key, prior_key = jax.random.split(key)
    codes = mixture.sample(seed=code_key, sample_shape=(num_samples,))
    samples = model.sample_latents(prior_key, (num_samples,))
    threshold = jnp.quantile(_log_prob(mixture, codes), level)
    return float((_log_prob(mixture, samples) < threshold).mean())


def encode_all(model: Any, data: np.ndarray, *, batch_size: int = 512) -> jax.Array:
    """``model.encode`` of all rows, ``batch_size`` at a time: ``[n, f]``."""
    return map_rows(lambda x: _encode(model, jnp.asarray(x)), data, batch_size=batch_size)


@jax.jit
def _encode(model: Any, x: jax.Array) -> jax.Array:
    return model.encode(x)


@jax.jit
def _log_prob(mixture: PosteriorMixture, z: jax.Array) -> jax.Array:
    return mixture.log_prob(z)


@jax.jit
def _prior(model: Any) -> Any:
    return model.prior_distribution()


@jax.jit
def _codes(
    model: Any, prior: Any, x: jax.Array, features: jax.Array, rows: jax.Array, keys: jax.Array
) -> tuple[jax.Array, ...]:
    z, log_posterior = model.posterior.sample_and_log_prob(features[rows], seed=keys)
    log_aggregate = PosteriorMixture(model.posterior, features).log_prob(z)
    return model.log_likelihood(x, z), prior.log_prob(z), log_posterior, log_aggregate
