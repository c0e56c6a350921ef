"""Linear layers between the steps of flows on vectors."""

from collections.abc import Sequence
from typing import Literal

from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.circular import RotationTransformer
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.elementwise import Elementwise
from dgmjax.layers.linear import PLULinear
from dgmjax.models.angles import by_kind

Linear = Literal["none", "affine", "lu"]


def linear_layer(
    linear: Linear,
    event_shape: Sequence[int],
    *,
    where: str,
    rngs: nnx.Rngs,
    circular: Sequence[bool] | None = None,
) -> list[Bijector]:
    """The linear layer in front of a step, on its data side: one or none.

    Angles are rotated instead of scaled and shifted.

    Args:
      linear: ``"affine"``, a trainable scale and shift of every element that start as the identity; ``"lu"``, a
        `dgmjax.PLULinear`; or ``"none"``.
      event_shape: ``(d,)``.
      where: name of the flow, for messages.
      rngs: for the initial matrices.
      circular: which elements are angles.

    Raises:
      ValueError: another name, or a matrix of angles.
    """
    if linear == "none":
        return []
    if linear == "affine":
        transformer = by_kind(circular, AffineTransformer("exp"), RotationTransformer())
        return [Elementwise(transformer, event_shape)]
    if linear == "lu" and circular is not None:
        raise ValueError(
            f"{where}: linear: angles cannot be mixed by a matrix; use 'affine' or 'none'."
        )
    if linear == "lu":
        return [PLULinear(event_shape, rngs=rngs)]
    raise ValueError(f"{where}: linear: expected 'none', 'affine' or 'lu', got {linear!r}.")


def joined(layers: Sequence[Bijector]) -> Bijector:
    """One layer of one or more."""
    return layers[0] if len(layers) == 1 else Chain(layers)
