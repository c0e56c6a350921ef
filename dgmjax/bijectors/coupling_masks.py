"""Boolean masks of coupling layers: ``True`` passes through unchanged, ``False`` is transformed."""

from collections.abc import Callable, Sequence

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
            f"{values.dtype}; build it with dgmjax.bijectors.coupling_masks or np.asarray(..., bool).ravel()."
        )
    if values.all() or not values.any():
        raise ValueError(
            f"mask: a coupling needs elements that pass through (True) and elements to transform (False); "
            f"all {values.size} are {bool(values[0])}."
        )
    return values


def _checkerboard(shape: tuple[int, int, int]) -> np.ndarray:
    return checkerboard_mask(shape[:2])[..., None]


def _first_channels(shape: tuple[int, int, int]) -> np.ndarray:
    return half_mask(shape[-1])[None, None]


IMAGE_MASKS: dict[str, Callable[[tuple[int, int, int]], np.ndarray]] = {
    "checkerboard": _checkerboard,
    "checkerboard_odd": lambda shape: ~_checkerboard(shape),
    "channel": _first_channels,
    "channel_swapped": lambda shape: ~_first_channels(shape),
}


def image_mask(mask: str | np.ndarray | Sequence[bool], shape: tuple[int, int, int]) -> np.ndarray:
    """Resolve ``mask`` for images ``(h, w, c)``, to booleans ``[h, w, 1]`` of pixels or ``[1, 1, c]`` of channels.

    Args:
      mask: ``"checkerboard"`` (``True`` where row + column is even) or ``"checkerboard_odd"``; ``"channel"`` (``True``
        for the first ``ceil(c / 2)`` channels) or ``"channel_swapped"``; or booleans of shape ``(h, w)``,
        ``(h, w, 1)``, ``(c,)`` or ``(1, 1, c)``.
      shape: ``(h, w, c)``.

    Raises:
      ValueError: unknown name, wrong shape or type, or a mask that leaves one of the two parts empty.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.4 and figure 3.
    """
    height, width, channels = shape
    if isinstance(mask, str):
        if mask not in IMAGE_MASKS:
            raise ValueError(
                f"mask: unknown name {mask!r}; expected one of {sorted(IMAGE_MASKS)} or a boolean array."
            )
        values = IMAGE_MASKS[mask](shape)
    else:
        values = np.asarray(mask)
        if values.ndim == 1:
            values = values[None, None]
        elif values.ndim == 2:
            values = values[..., None]
    if values.dtype != np.bool_ or values.shape not in ((height, width, 1), (1, 1, channels)):
        raise ValueError(
            f"mask: for images of shape {shape} expected booleans (True passes through) of shape "
            f"{(height, width)}, one a pixel, or {(channels,)}, one a channel; got shape {values.shape} and dtype "
            f"{values.dtype}."
        )
    if values.all() or not values.any():
        raise ValueError(
            f"mask: a coupling needs elements that pass through (True) and elements to transform (False); {mask!r} is "
            f"{bool(values.flat[0])} everywhere on images of shape {shape}. Channel masks need 2 channels; "
            f"dgmjax.Squeeze makes 4 of one."
        )
    return values
