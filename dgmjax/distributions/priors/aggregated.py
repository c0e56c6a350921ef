"""The aggregated posterior of a data set, as a prior."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.distributions.posteriors.base import Posterior
from dgmjax.distributions.posteriors.mixture import PosteriorMixture, PosteriorMixturePrior
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.numerics.rows import map_rows


@recorded
class AggregatedPosterior(PosteriorMixturePrior):
    """``p(z) = 1/n sum_i q(z | encoder(x_i))`` over a whole data set: the prior that a given encoder likes best.

    Of all priors it maximises the mean evidence lower bound of those data, and with ``n`` components it overfits them.
    The data are fixed, no parameters.

    Args:
      data: ``[n, *event]``, events as the encoder's user has them, e.g. integers.
      batch_size: events to encode at a time.

    Raises:
      ValueError: no data, or a batch size below 1.

    Source: Hoffman and Johnson, 2016, *ELBO surgery*; Tomczak and Welling, 2018, arXiv:1705.07120, equation 8.
    """

    def __init__(self, data: Any, *, batch_size: int = 256):
        if np.ndim(data) < 1 or len(data) < 1 or batch_size < 1:
            raise ValueError(
                f"AggregatedPosterior: expected data [n, *event] with n >= 1 and batch_size >= 1, got data of "
                f"shape {np.shape(data)} and {batch_size}."
            )
        self.data = nnx.data(jnp.asarray(data))
        self.batch_size = batch_size

    def given(
        self,
        encode_scaled: Callable[[jax.Array], jax.Array],
        encode: Callable[[jax.Array], jax.Array],
        posterior: Posterior,
    ) -> PosteriorMixture:
        """The prior as a density, for this encoder and posterior.

        Args:
          encode_scaled: ``[*batch, *event]`` of floats in [-1, 1] to features; not used here.
          encode: the same for data as the user has them; applied to the data, ``batch_size`` at a time.
          posterior: what the features parametrise.
        """
        del encode_scaled
        features = map_rows(encode, self.data, batch_size=self.batch_size)
        return PosteriorMixture(posterior, features)
