"""Scores of events that another distribution may have made: the bigger, the more outlying.

The plain score is the negative log-likelihood itself, ``-log_prob``. Flows often give simple images of another data
set a higher likelihood than their own; `typicality` and `complexity_corrected` are two answers to that. `auroc`
measures how well a score tells two sets apart.

Source: Nalisnick et al., 2019, *Do deep generative models know what they don't know?*, arXiv:1810.09136.
"""

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def typicality(log_prob: ArrayLike, train_log_prob: ArrayLike) -> jax.Array:
    """``|-log p(x) - mean_train(-log p)|``: the distance from the entropy of the model, ``[*batch]``, nats.

    Args:
      log_prob: log-likelihoods of the events, ``[*batch]``, nats, or bounds on them.
      train_log_prob: those of events of the training distribution, ``[n]``, the same bound.

    Raises:
      ValueError: no log-likelihoods of the training distribution.

    Source: Nalisnick et al., 2019, *Detecting out-of-distribution inputs to deep generative models using typicality*,
    arXiv:1906.02994, equation 4, for batches of one event.
    """
    train = jnp.asarray(train_log_prob)
    if not train.size:
        raise ValueError("typicality: expected at least one train_log_prob, got none.")
    return jnp.abs(train.mean() - jnp.asarray(log_prob))


def complexity_corrected(log_prob: ArrayLike, x: ArrayLike) -> np.ndarray:
    """``S(x) = -log2 p(x) - L(x)``, ``L`` the length of a lossless code: ``[n]``, float64, bits; on the host.

    A log-likelihood ratio between a universal compressor and the model: images that are simple for any model gain
    nothing by it. The compressor is `code_length`.

    Args:
      log_prob: log-likelihoods ``[n]``, nats, of the integers ``x`` (of `dgmjax.Dequantized`).
      x: images as in `code_length`.

    Raises:
      TypeError: as `code_length`.
      ValueError: as `code_length`, or log-likelihoods of another number of images.

    Source: Serra et al., 2020, *Input complexity and out-of-distribution detection with likelihood-based generative
    models*, arXiv:1909.11480, equation 1.
    """
    log_p, length = np.asarray(log_prob, np.float64), code_length(x)
    if log_p.shape != length.shape:
        raise ValueError(
            f"complexity_corrected: expected one log-likelihood an image, {length.shape}, got {log_p.shape}."
        )
    return -log_p / math.log(2.0) - length


def code_length(x: ArrayLike) -> np.ndarray:
    """Bits of images under a lossless compressor like PNG's: ``[n]``, float64; on the host.

    The shortest of the DEFLATE streams (zlib, level 9, without header and checksum) of an image under PNG's filters
    none, sub (left), up and Paeth, one filter an image, which costs 2 bits to say. Pixels count as bytes whatever the
    number of levels.

    Args:
      x: images ``[n, h, w]`` or ``[n, h, w, c]``, integers in ``0 .. 255``.

    Raises:
      TypeError: images that are no integers.
      ValueError: another shape, or values that are no bytes.

    Source: *Portable Network Graphics (PNG) specification*, W3C, section 9.2.
    """
    images = np.asarray(x)
    if not np.issubdtype(images.dtype, np.integer):
        raise TypeError(
            f"code_length: expected integer images, got {images.dtype}; lossless codes are of the levels that "
            f"dgmjax.Dequantized models, before any scaling."
        )
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"code_length: expected images [n, h, w] or [n, h, w, c] with n > 0, got {images.shape}; reshape vectors "
            f"to images first."
        )
    low, high = images.min(), images.max()
    if low < 0 or high > 255:
        raise ValueError(f"code_length: expected levels in 0 .. 255, got {low} .. {high}.")
    streams = [
        [_deflated(image) for image in filtered] for filtered in _png_filters(images.astype(int))
    ]
    return 8.0 * np.min(streams, axis=0) + math.log2(len(streams))


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """``P(outside > inside) + P(outside = inside) / 2``: the area under the ROC curve of a score; on the host.

    0.5 for a score that knows nothing, 1 if every outside score is bigger, below 0.5 if outliers look more inside than
    the inside does. By ranks, ``O(n log n)``.

    Args:
      inside: scores of events of the model's distribution, ``[n]``.
      outside: scores of others, ``[m]``.

    Raises:
      ValueError: an empty set, another shape, or NaN.

    Source: Mann and Whitney, 1947; Hanley and McNeil, 1982, *The meaning and use of the area under a ROC curve*.
    """
    scores = {"inside": np.asarray(inside), "outside": np.asarray(outside)}
    for name, values in scores.items():
        if values.ndim != 1 or not values.size:
            raise ValueError(
                f"auroc: expected {name} scores of shape [n] with n > 0, got {values.shape}."
            )
        if np.isnan(values).any():
            raise ValueError(
                f"auroc: {int(np.isnan(values).sum())} of {values.size} {name} scores are NaN, which have no rank; "
                f"drop them or score them as infinite."
            )
    ordered = np.sort(scores["inside"])
    below = np.searchsorted(ordered, scores["outside"], side="left")
    not_above = np.searchsorted(ordered, scores["outside"], side="right")
    return float((below + not_above).mean() / 2 / ordered.size)


def _png_filters(images: np.ndarray) -> list[np.ndarray]:
    """Differences modulo 256 from a prediction of every byte: nothing, left, up, Paeth."""
    left, up, corner = np.zeros_like(images), np.zeros_like(images), np.zeros_like(images)
    left[:, :, 1:] = images[:, :, :-1]
    up[:, 1:] = images[:, :-1]
    corner[:, 1:, 1:] = images[:, :-1, :-1]
    nearest = [np.abs(left + up - corner - candidate) for candidate in (left, up, corner)]
    paeth = np.choose(np.argmin(nearest, axis=0), [left, up, corner])
    return [(images - prediction).astype(np.uint8) for prediction in (0, left, up, paeth)]


def _deflated(image: np.ndarray) -> int:
    """Bytes of the raw DEFLATE stream."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(compressor.compress(image.tobytes())) + len(compressor.flush())
