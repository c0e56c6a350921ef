"""Boolean masks of coupling layers: ``True`` passes through unchanged, ``False`` is transformed."""

from collections.abc import Sequence

import numpy as np


def alternating_mask(size: int) -> np.ndarray:
    """``[True, False, True, ...]`` of length ``size``."""
    return np.arange(size) % 2 == 0


def half_mask(size: int) -> np.ndarray:
    """``True`` for the first ``ceil(size / 2)`` elements, ``False`` for the rest."""
    return np.arange(size) < (size + 1) // 2


def checkerboard_mask(shape: Sequence[int]) -> np.ndarray:
    """``True`` where the sum of the indices along all axes of ``shape`` is even.

    For an image ``(height, width)`` this is the spatial checkerboard of RealNVP (arXiv:1605.08803, figure 3).
    For channels add the axis afterwards: ``checkerboard_mask((h, w))[..., None]`` broadcasts to all of them.
    """
    return np.indices(tuple(shape)).sum(0) % 2 == 0


VECTOR_MASKS = {"alternating": alternating_mask, "half": half_mask}


def vector_mask(mask: "str | np.ndarray | Sequence[bool]", size: int) -> np.ndarray:
    """Resolve ``mask``, a name of ``VECTOR_MASKS`` or boolean values, to a boolean vector of ``size``.

    Raises:
      ValueError: unknown name, wrong shape or type, or a mask that leaves one of the two parts empty.
    """
    if isinstance(mask, str):
        if mask not in VECTOR_MASKS:
            raise ValueError(
                f"mask: unknown name {mask!r}; expected one of {sorted(VECTOR_MASKS)} or a boolean array."
            )
        values = VECTOR_MASKS[mask](size)
    else:
        values = np.asarray(mask)
    if values.dtype != np.bool_ or values.shape != (size,):
        raise ValueError(
            f"mask: expected {size} booleans (True passes through), got shape {values.shape} and dtype "
            f"{values.dtype}; build it with dgmjax.bijectors.masks or np.asarray(..., bool).ravel()."
        )
    if values.all() or not values.any():
        raise ValueError(
            f"mask: a coupling needs elements that pass through (True) and elements to transform (False); "
            f"all {values.size} are {bool(values[0])}."
        )
    return values
