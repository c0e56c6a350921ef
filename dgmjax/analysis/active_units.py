"""Latents that a variational autoencoder uses."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from dgmjax.numerics import prng
from dgmjax.numerics.rows import map_rows
from dgmjax.objectives.elbo_surgery import encode_all


class ActiveUnits(NamedTuple):
    """How much each latent says about the data.

    Attributes:
      variances: ``Var_x(E_q[z_j | x])``, ``[d]``, float64.
      number: latents whose variance is above the threshold.
    """

    variances: np.ndarray
    number: int

    def __str__(self) -> str:
        """E.g. ``12 of 32 latents are active``."""
        return f"{self.number} of {len(self.variances)} latents are active"


def active_units(
    model: Any,
    data: ArrayLike,
    threshold: float = 0.01,
    *,
    key: jax.Array | None = None,
    num_samples: int = 64,
    batch_size: int = 512,
) -> ActiveUnits:
    """Count the latents with ``Var_x(E_q[z_j | x]) > threshold``, the variance being over the rows of ``data``.

    A collapsed latent has ``q(z_j | x) = p(z_j)`` for every ``x``, and a variance of 0; if all have, the decoder
    ignores its latents. The variance depends on the scale and on the basis of the latents: under a learned prior, or
    after a rotation of them, the number is another.

    A posterior whose mean is not known (a flow) gives the mean of samples, and the noise in it, the mean variance of
    ``q`` over the number of samples, is subtracted: without that, 64 samples of a collapsed unit would make
    ``1/64 > 0.01``. The corrected variance is unbiased, and can be slightly negative.

    Args:
      model: `dgmjax.VAE`.
      data: events ``[n, *event]``, at least two.
      threshold: 0.01 in the paper; the number hardly depends on it there.
      key: of the samples; not needed where the posterior knows its moments.
      num_samples: an event, at least two.
      batch_size: events that are encoded and sampled at a time.

    Raises:
      ValueError: fewer than two events or samples, or no key where one is needed.

    Source: Burda et al., 2016, *Importance weighted autoencoders*, arXiv:1509.00519, section 5.2.
    """
    data = np.asarray(data)
    if len(data) < 2:
        raise ValueError(f"active_units: a variance needs at least two events, got {len(data)}.")
    features = encode_all(model, data, batch_size=batch_size)
    if model.posterior.centre_is_mean:
        means = np.asarray(_means(model.posterior, features), np.float64)
        variances = means.var(0, ddof=1)
    else:
        if key is None or num_samples < 2:
            raise ValueError(
                f"active_units: {type(model.posterior).__name__} does not know its mean; pass key=jax.random.key(...) "
                f"and num_samples >= 2, got {num_samples}."
            )
        keys = prng.example_keys(key, len(data))
        moments = map_rows(
            lambda features, keys: _moments(model.posterior, features, keys, num_samples),
            features,
            keys,
            batch_size=batch_size,
        )
        means, noise = (np.asarray(moment, np.float64) for moment in moments)
        variances = means.var(0, ddof=1) - noise.mean(0) / num_samples
    return ActiveUnits(variances, int((variances > threshold).sum()))


@jax.jit
def _means(posterior: Any, features: jax.Array) -> jax.Array:
    return posterior.centre(features)


def _sampled_moments(
    posterior: Any, features: jax.Array, keys: jax.Array, num_samples: int
) -> tuple[jax.Array, jax.Array]:
    """Means and variances of the samples of every row, ``[rows, d]``."""
    z = jax.vmap(lambda row, key: posterior.sample(row, seed=key, sample_shape=(num_samples,)))(
        features, keys
    )
    return z.mean(1), z.var(1, ddof=1)


_moments = jax.jit(_sampled_moments, static_argnums=3)
