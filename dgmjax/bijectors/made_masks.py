"""MADE's masks: which weights of a network keep the order of the elements.

Source: Germain et al., 2015, *MADE*, arXiv:1502.03509, section 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Degrees(NamedTuple):
    """The order of a MADE.

    Attributes:
      order: ``order[r]`` is the element that comes ``r``-th; a permutation of ``0 .. d - 1``.
      hidden: degree of every hidden unit, ascending: a unit of degree ``r`` sees the first ``r`` elements only.
    """

    order: np.ndarray
    hidden: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """``rank[i]``: the place of element ``i`` in the order."""
        return np.argsort(self.order)


def made_degrees(order: Sequence[int] | np.ndarray, width: int, *, context: bool) -> Degrees:
    """Degrees of a MADE with hidden layers of ``width`` units, spread evenly.

    With a context some units have degree 0 and see the context only, so that the first element depends on it.

    Raises:
      ValueError: ``order`` is no permutation, or there are too few units.
    """
    order = np.asarray(order)
    size = order.size
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(size)):
        raise ValueError(f"order: expected a permutation of 0 .. {size - 1}, got {order.tolist()}.")
    low = 0 if context or size == 1 else 1
    hidden = low + (np.arange(width) * max(size - low, 1)) // width
    return Degrees(order, hidden)


def made_masks(degrees: Degrees, num_hidden_layers: int, num_params: int) -> list[np.ndarray]:
    """Masks ``[in, out]`` of the kernels, input to output; output ``[d * num_params]`` keeps an element's together."""
    rank, hidden = degrees.rank, degrees.hidden
    first = hidden[None, :] > rank[:, None]
    between = hidden[None, :] >= hidden[:, None]
    last = np.repeat(rank[None, :] >= hidden[:, None], num_params, axis=1)
    return [first, *[between] * (num_hidden_layers - 1), last]
