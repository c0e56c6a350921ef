"""Angles among the elements of flows on vectors: their transformers and their base."""

import itertools
import math
from collections.abc import Sequence

from dgmjax.bijectors.circular import CircularSplineTransformer, RotationTransformer
from dgmjax.bijectors.mixed import MixedTransformer
from dgmjax.bijectors.spline import SplineTransformer
from dgmjax.bijectors.transformer import ComposedTransformer, Transformer
from dgmjax.distributions.base import Density
from dgmjax.distributions.bases import Product, Uniform
from dgmjax.distributions.flow import standard_normal


def by_kind(
    circular: Sequence[bool] | None, real: Transformer, of_angles: Transformer
) -> Transformer:
    """``of_angles`` for the elements that are angles, ``real`` for the others."""
    if circular is None or not any(circular):
        return real
    if all(circular):
        return of_angles
    return MixedTransformer(tuple(of_angles if angle else real for angle in circular))


def closed_like(splines: SplineTransformer) -> Transformer:
    """A rotation and a circular spline with the bins and bounds of ``splines``."""
    closed = CircularSplineTransformer(splines.num_bins, splines.min_bin, splines.min_derivative)
    return ComposedTransformer((RotationTransformer(), closed))


def checked_circular(
    circular: Sequence[bool] | None, event_shape: Sequence[int], *, where: str
) -> tuple[bool, ...] | None:
    """``circular`` as booleans, one an element; None where there are no angles.

    Raises:
      ValueError: another number of them.
    """
    if circular is None:
        return None
    values = tuple(bool(angle) for angle in circular)
    if (len(values),) != tuple(event_shape):
        raise ValueError(
            f"{where}: circular: expected a boolean for each element of {tuple(event_shape)}, got {len(values)}."
        )
    return values if any(values) else None


def base_of_kinds(circular: Sequence[bool] | None) -> Density | None:
    """Standard normal elements, and angles uniform on the circle; None without angles, for the default."""
    if circular is None:
        return None
    parts: list[Density] = []
    for angle, group in itertools.groupby(circular):
        shape = (len(list(group)),)
        parts.append(Uniform(shape, -math.pi, math.pi) if angle else standard_normal(shape))
    return parts[0] if len(parts) == 1 else Product(parts)
