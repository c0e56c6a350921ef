"""Errors of averages."""

import math

import numpy as np
from numpy.typing import ArrayLike


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean of ``values``, ``std / sqrt(n)``; NaN for fewer than two, which have no spread."""
    values = np.asarray(values, np.float64)
    return float(values.std() / math.sqrt(values.size)) if values.size > 1 else math.nan
