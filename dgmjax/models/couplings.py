"""What coupling flows on vectors share: a chain of couplings with alternating masks."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

from dgmjax.bijectors.coupling import Transformer
from dgmjax.bijectors.masks import vector_mask
from dgmjax.layers.coupling import Coupling
from dgmjax.nets.mlp import MLP


def alternating_couplings(
    name: str,
    event_shape: Sequence[int],
    transformer: Transformer,
    *,
    depth: int,
    mask: str | np.ndarray | Sequence[bool],
    width: int,
    hidden_layers: int,
    context_shape: Sequence[int] | None,
    **options: Any,
) -> list[Coupling]:
    """``depth`` couplings with MLP conditioners, whose masks alternate between ``mask`` and its complement.

    Args:
      name: of the flow, for messages.
      event_shape: ``(d,)``, ``d >= 2``.
      transformer: the elementwise map of every coupling.
      depth: number of couplings, at least 2 (with fewer some elements are never transformed).
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans, of the first coupling.
      width: hidden units of the conditioners.
      hidden_layers: hidden layers of the conditioners.
      context_shape: ``(c,)`` or None.
      **options: further arguments of `dgmjax.nets.MLP`.

    Raises:
      ValueError: another event rank, too few couplings, or a mask that does not fit.
    """
    event_shape = tuple(event_shape)
    if len(event_shape) != 1 or event_shape[0] < 2:
        raise ValueError(
            f"{name}: expected event_shape (d,) with d >= 2, got {event_shape}; flatten images to vectors, or fit a "
            f"one-dimensional density with distrax."
        )
    if depth < 2:
        raise ValueError(f"{name}: depth must be at least 2, got {depth}.")
    values = vector_mask(mask, event_shape[0])
    make_conditioner = functools.partial(MLP, width=width, depth=hidden_layers, **options)
    return [
        Coupling(
            event_shape,
            mask=values if index % 2 == 0 else ~values,
            make_conditioner=make_conditioner,
            transformer=transformer,
            context_shape=context_shape,
        )
        for index in range(depth)
    ]


def first_layer(preprocess: nnx.Module | None) -> list[Any]:
    """The preprocessing as the first layers of a chain: one or none."""
    return [] if preprocess is None else [preprocess]
