"""How good samples are, by a classifier of the data: Frechet distance, precision and recall, classes."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dgmjax.numerics.rows import map_rows


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)`` of means and covariances, in float64.

    The squared 2-Wasserstein distance of the Gaussians with these moments; with the features of Inception it is the
    FID. The root is taken of a symmetric matrix by its eigenvalues, which rounding cannot make complex. It is larger
    for fewer rows, so compare sets of one size.

    Args:
      features_a: ``[n, d]``.
      features_b: ``[m, d]``.

    Raises:
      ValueError: no matrices of one width, or fewer than two rows.

    Source: Heusel et al., 2017, *GANs trained by a two time-scale update rule*, arXiv:1706.08500, equation 6.
    """
    a, b = _matrices(features_a, features_b, "frechet_distance", rows=2)
    difference = a.mean(0) - b.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov_b @ root)
    cross = np.sqrt(np.clip(product, 0, None)).sum()
    # A sum of large numbers that cancel: rounding may leave it just below 0.
    return max(float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * cross), 0.0)


class PrecisionRecall(NamedTuple):
    """Shares of two sets of features, each in ``[0, 1]``.

    Attributes:
      precision: samples that lie where data are: quality.
      recall: data that lie where samples are: variety; a generator that has lost a mode has lost its share of recall.
    """

    precision: float
    recall: float


def precision_recall(
    data_features: ArrayLike, sample_features: ArrayLike, *, k: int = 3
) -> PrecisionRecall:
    """Shares within the other set's manifold: the balls about its rows that reach their ``k``-th nearest neighbour.

    Args:
      data_features: ``[n, d]``.
      sample_features: ``[m, d]``.
      k: neighbours, the row itself not counted.

    Raises:
      ValueError: no matrices of one width, or no more than ``k`` rows.

    Source: Kynkaanniemi et al., 2019, *Improved precision and recall metric for assessing generative models*,
      arXiv:1904.06991, equations 1 and 2; there ``k = 3``.
    """
    if k < 1:
        raise ValueError(f"precision_recall: k must be at least 1, got {k}.")
    data, samples = _matrices(data_features, sample_features, "precision_recall", rows=k + 1)
    return PrecisionRecall(_share_within(samples, data, k), _share_within(data, samples, k))


class ClassBalance(NamedTuple):
    """What a classifier says of samples.

    Attributes:
      accepted: share with a class of a probability above the threshold.
      counts: samples whose most probable class is each, ``[classes]``.
      lowest: count of the rarest class, in units of that of the uniform distribution.
      highest: count of the most frequent one, in the same units.
    """

    accepted: float
    counts: tuple[int, ...]
    lowest: float
    highest: float


def class_balance(logits: ArrayLike, *, threshold: float = 0.9) -> ClassBalance:
    """Acceptance and histogram of the most probable classes.

    Args:
      logits: ``[n, classes]``, unnormalized log-probabilities.
      threshold: smallest probability of a class that counts as accepted, in ``[0, 1)``.

    Raises:
      ValueError: no logits, or a threshold out of range.
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or len(logits) == 0 or not 0 <= threshold < 1:
        raise ValueError(
            f"class_balance: expected logits [n, classes] with n > 0 and threshold in [0, 1), got shape "
            f"{logits.shape} and {threshold}."
        )
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    # The largest one is exp(0).
    confidence = 1 / exponentials.sum(1)
    counts = np.bincount(logits.argmax(1), minlength=logits.shape[1])
    shares = counts * len(counts) / counts.sum()
    return ClassBalance(
        float((confidence > threshold).mean()),
        tuple(int(count) for count in counts),
        float(shares.min()),
        float(shares.max()),
    )


@dataclasses.dataclass(frozen=True)
class SampleScores:
    """The scores of samples against data, by one classifier.

    Attributes:
      frechet_distance: of the classifier's features, see `frechet_distance`; comparable for one classifier only.
      precision: see `precision_recall`.
      recall: see `precision_recall`.
      accepted: share of samples with a class of a probability above 0.9, see `class_balance`.
      counts: samples of each class.
      lowest: count of the rarest class, 1 if uniform.
      highest: count of the most frequent class, 1 if uniform.
      num_samples: samples.
      num_data: events of the data.
    """

    frechet_distance: float
    precision: float
    recall: float
    accepted: float
    counts: tuple[int, ...]
    lowest: float
    highest: float
    num_samples: int
    num_data: int

    def __str__(self) -> str:
        """E.g. ``accepted 95.2%, classes 0.71 to 1.42 of uniform, Frechet distance 3.21, precision 0.930, ...``."""
        return (
            f"accepted {self.accepted:.1%}, classes {self.lowest:.2f} to {self.highest:.2f} of uniform, Frechet "
            f"distance {self.frechet_distance:.2f}, precision {self.precision:.3f}, recall {self.recall:.3f}"
        )

    def as_record(self) -> dict[str, Any]:
        """JSON-compatible numbers."""
        return dataclasses.asdict(self) | {"counts": list(self.counts)}


def sample_scores(
    classifier: Any,
    samples: ArrayLike,
    data: ArrayLike,
    *,
    k: int = 3,
    threshold: float = 0.9,
    batch_size: int = 500,
) -> SampleScores:
    """Score ``samples`` against ``data`` by the features and logits of ``classifier``, trained on such data.

    Args:
      classifier: has ``features(x) -> [n, d]`` and ``logits(x) -> [n, classes]``.
      samples: events as the classifier takes them, ``[n, *event]``; as many as ``data`` for comparable distances.
      data: events that the classifier has not been trained on, ``[m, *event]``.
      k: see `precision_recall`.
      threshold: see `class_balance`.
      batch_size: events at a time.

    Raises:
      ValueError: too few events.
    """

    def seen(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(map(np.asarray, _features_and_logits(classifier, x)))

    features, logits = map_rows(seen, np.asarray(samples), batch_size=batch_size)
    data_features, _ = map_rows(seen, np.asarray(data), batch_size=batch_size)
    return SampleScores(
        frechet_distance=frechet_distance(data_features, features),
        **precision_recall(data_features, features, k=k)._asdict(),
        **class_balance(logits, threshold=threshold)._asdict(),
        num_samples=len(features),
        num_data=len(data_features),
    )


@jax.jit
def _features_and_logits(classifier: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return classifier.features(x), classifier.logits(x)


def _share_within(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    """Share of ``points`` in a ball about a row of ``manifold`` that reaches its ``k``-th neighbour."""
    # Distances are differences of norms: about the mean they keep more digits.
    centre = manifold.mean(0)
    points, manifold = points - centre, manifold - centre
    # The nearest row to each row is itself, at distance 0.
    limits = map_rows(
        lambda rows: np.partition(_squares(rows, manifold), k, 1)[:, k], manifold, batch_size=512
    )
    inside = map_rows(
        lambda rows: (_squares(rows, manifold) <= limits).any(1), points, batch_size=512
    )
    return float(inside.mean())


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of the rows of ``a`` to those of ``b``."""
    return np.clip(np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T, 0, None)


def _matrices(
    a: ArrayLike, b: ArrayLike, where: str, *, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < rows:
        raise ValueError(
            f"{where}: expected features [n, d] and [m, d] of at least {rows} rows each, got shapes {a.shape} and "
            f"{b.shape}."
        )
    return a, b
