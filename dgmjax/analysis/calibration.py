"""Whether posteriors are as wide as they should be: rank histograms and expected coverage."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgmjax.numerics import prng
from dgmjax.numerics.rows import map_rows
from dgmjax.objectives.likelihood import bound_of

_BINS = 20


class Calibration(NamedTuple):
    """Where true parameters lie among samples of their posteriors; all of it is uniform if these are exact.

    Attributes:
      ranks: of each element of the parameters, how many samples are below the truth: integers ``[n, d]``.
      density_ranks: how many samples have a higher density than the truth, ``[n]``.
      num_samples: samples a posterior; ranks are in ``0 .. num_samples``.
    """

    ranks: np.ndarray
    density_ranks: np.ndarray
    num_samples: int

    def expected_coverage(self, levels: ArrayLike) -> np.ndarray:
        """The share of truths in the region of highest density that holds the mass ``levels``; ideally ``levels``.

        Below it, posteriors are too narrow or in the wrong place; above, too wide.
        """
        positions = (self.density_ranks + 0.5) / (self.num_samples + 1)
        return (positions[:, None] <= np.ravel(levels)).mean(0).reshape(np.shape(levels))

    @property
    def p_values(self) -> np.ndarray:
        """Probability of ranks at least as uneven as these if posteriors were exact, each element's: ``[d]``.

        By the chi-square test over 20 bins, or as many as there are ranks. Small ones are evidence against the
        posterior; that of marginals which are right says nothing about how elements depend on each other.
        """
        return np.array([self._p_value(column) for column in self.ranks.T])

    @property
    def coverage_p_value(self) -> float:
        """The same of the ranks of the densities."""
        return self._p_value(self.density_ranks)

    def histogram(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts of ``ranks [n]`` in up to 20 bins, and the counts that are expected of exact posteriors."""
        total = self.num_samples + 1
        edges = np.linspace(0, total, min(_BINS, total) + 1).astype(int)
        counts = np.histogram(ranks, edges - 0.5)[0]
        return counts, len(ranks) * np.diff(edges) / total

    def _p_value(self, ranks: np.ndarray) -> float:
        import scipy.stats  # slow to import, and for this alone

        return float(scipy.stats.chisquare(*self.histogram(ranks)).pvalue)

    def __str__(self) -> str:
        """E.g. ``50% regions hold 0.48, 90% regions 0.91 of 300 truths; p-values 0.31, 0.62; of coverage 0.44``."""
        half, most = self.expected_coverage([0.5, 0.9])
        values = ", ".join(f"{value:.2g}" for value in self.p_values)
        return (
            f"50% regions hold {half:.2f}, 90% regions {most:.2f} of {len(self.ranks)} truths; p-values {values}; of "
            f"coverage {self.coverage_p_value:.2g}"
        )


def calibration(
    posterior: Any,
    parameters: ArrayLike,
    context: ArrayLike,
    *,
    key: jax.Array,
    num_samples: int = 999,
    batch_size: int = 64,
) -> Calibration:
    """Compare true parameters with samples of their posteriors, by elements and by densities.

    Parameters of the prior, and what was observed of each, are draws of the joint density. The rank of such a parameter
    among samples of ``p(parameter | observation)`` is uniform, and so is that of its density.

    Args:
      posterior: conditional density with ``log_prob(value, context)`` and ``sample``, whose likelihood is exact.
      parameters: drawn from the prior, ``[n, *event]``; not those it was fitted to.
      context: what was observed of each, ``[n, *context_shape]``, as the posterior takes it.
      key: of the samples.
      num_samples: samples a posterior.
      batch_size: observations at a time, which changes nothing else.

    Raises:
      ValueError: no rows, different numbers of them, no sample, or a posterior whose likelihood is a bound.

    Source: Talts et al., 2018, *Validating Bayesian inference algorithms with simulation-based calibration*,
      arXiv:1804.06788, algorithm 1; Hermans et al., 2022, *A crisis in simulation-based inference?*, arXiv:2110.06581,
      definition 2 (expected coverage).
    """
    parameters, context = np.asarray(parameters), np.asarray(context)
    if not len(parameters) or len(parameters) != len(context) or num_samples < 1:
        raise ValueError(
            f"calibration: expected as many parameters as observations, at least one, and num_samples >= 1, got "
            f"{len(parameters)}, {len(context)} and {num_samples}."
        )
    if bound_of(posterior).is_noisy:
        raise ValueError(
            f"calibration: densities of samples are compared, and {type(posterior).__name__} has a "
            f"{bound_of(posterior)}."
        )

    def ranks(*rows: Any) -> tuple[np.ndarray, ...]:
        return tuple(map(np.asarray, _ranks(posterior, *rows, num_samples=num_samples)))

    keys = prng.example_keys(key, len(parameters))
    below, higher = map_rows(ranks, parameters, context, keys, batch_size=batch_size)
    return Calibration(below, higher, num_samples)


@functools.partial(jax.jit, static_argnames="num_samples")
def _ranks(
    posterior: Any, parameters: jax.Array, context: jax.Array, keys: jax.Array, *, num_samples: int
) -> tuple[jax.Array, jax.Array]:
    def of_row(truth: jax.Array, context: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        samples = posterior.sample(seed=key, sample_shape=num_samples, context=context)
        truth = truth.astype(samples.dtype)
        higher = posterior.log_prob(samples, context) > posterior.log_prob(truth, context)
        return (samples < truth[None]).reshape(num_samples, -1).sum(0), higher.sum()

    return jax.vmap(of_row)(parameters, context, keys)
