"""Likelihoods by name."""

from collections.abc import Callable, Sequence
from typing import Any

from dgmjax.distributions.likelihoods.base import Likelihood
from dgmjax.distributions.likelihoods.bernoulli import Bernoulli
from dgmjax.distributions.likelihoods.categorical import Categorical
from dgmjax.distributions.likelihoods.discretized_logistic import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from dgmjax.distributions.likelihoods.gaussian import Gaussian

LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
    "gaussian": Gaussian,
}


def likelihood(
    name: str, event_shape: Sequence[int], num_levels: int | None = None, **options: Any
) -> Likelihood:
    """The likelihood called ``name``, e.g. ``likelihood("categorical", (8, 8, 1), 17)``.

    Args:
      name: a key of ``LIKELIHOODS``.
      event_shape: shape of one event.
      num_levels: levels of the data; None or 2 for ``"bernoulli"``, None for ``"gaussian"``, whose data are continuous.
      **options: further arguments of the class, e.g. ``num_components=5``.

    Raises:
      ValueError: an unknown name, or levels that the likelihood does not have.
    """
    if name not in LIKELIHOODS:
        raise ValueError(
            f"likelihood: unknown name {name!r}; expected one of {sorted(LIKELIHOODS)}."
        )
    make = LIKELIHOODS[name]
    if name == "bernoulli":
        if num_levels not in (None, 2):
            raise ValueError(
                f"likelihood: 'bernoulli' is for binary data, got num_levels={num_levels}; binarize the data, or use "
                f"'categorical' or 'discretized_logistic'."
            )
        return make(event_shape, **options)
    if name == "gaussian":
        if num_levels is not None:
            raise ValueError(
                f"likelihood: 'gaussian' is for continuous data, got num_levels={num_levels}; its densities of "
                f"integers would be no probabilities: use 'discretized_logistic', or leave num_levels out."
            )
        return make(event_shape, **options)
    if num_levels is None:
        raise ValueError(
            f"likelihood: {name!r} needs num_levels, the number of values of an element."
        )
    return make(event_shape, num_levels, **options)
