"""What flows on vectors share: couplings with alternating masks, as one scan."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

from dgmjax.bijectors.coupling_masks import vector_mask
from dgmjax.bijectors.mixed import MixedTransformer
from dgmjax.bijectors.transformer import Transformer
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.conditioner import MakeConditioner, conditioner_factory
from dgmjax.layers.coupling import Coupling
from dgmjax.layers.elementwise import Elementwise
from dgmjax.layers.stack import Stack
from dgmjax.models.linear_steps import Linear, joined, linear_layer
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
    conditioner: MakeConditioner | None,
    context_shape: Sequence[int] | None,
    reversible: bool,
    remat: bool,
    rngs: nnx.Rngs,
    linear: Linear = "none",
    circular: Sequence[bool] | None = None,
    **options: Any,
) -> list[Bijector]:
    """``depth`` couplings with MLP conditioners, whose masks alternate between ``mask`` and its complement.

    They come as one `dgmjax.Stack`, and the last one alone if their number is odd. Linear layers stand before, between
    and after them. Of a single element nothing passes through: its maps have parameters of their own, or of the
    context.

    Args:
      name: of the flow, for messages.
      event_shape: ``(d,)``.
      transformer: the elementwise map of every coupling.
      depth: number of couplings, at least 2 (with fewer some elements are never transformed).
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans, of the first coupling.
      width: hidden units of the conditioners.
      hidden_layers: hidden layers of the conditioners.
      conditioner: makes networks of the user's instead, see `dgmjax.RealNVP`.
      context_shape: ``(c,)`` or None.
      reversible: see `dgmjax.Stack`.
      remat: see `dgmjax.Stack`.
      rngs: for the initial weights.
      linear: see `dgmjax.models.linear_steps`.
      circular: which elements are angles.
      **options: further arguments of `dgmjax.nets.MLP`.

    Raises:
      ValueError: another event rank, too few couplings, or a mask that does not fit.
    """
    event_shape = tuple(event_shape)
    if len(event_shape) != 1 or event_shape[0] < 1:
        raise ValueError(
            f"{name}: expected event_shape (d,), got {event_shape}; flatten images to vectors."
        )
    if depth < 2:
        raise ValueError(f"{name}: depth must be at least 2, got {depth}.")
    net = functools.partial(MLP, width=width, depth=hidden_layers, rngs=rngs, **options)
    make_conditioner = conditioner_factory(name, conditioner, net, rngs=rngs)
    before = functools.partial(
        linear_layer, linear, event_shape, where=name, rngs=rngs, circular=circular
    )
    if event_shape == (1,):
        of_context = None if context_shape is None else make_conditioner
        couple = functools.partial(
            Elementwise,
            transformer,
            event_shape,
            context_shape=context_shape,
            make_conditioner=of_context,
        )
        equal = [joined([*before(), couple()]) for _ in range(depth)]
        return [Stack(equal, reversible=reversible, remat=remat), *before()]
    values = vector_mask(mask, event_shape[0])
    make = functools.partial(
        Coupling,
        event_shape,
        make_conditioner=make_conditioner,
        transformer=transformer,
        context_shape=context_shape,
    )
    if 2 * values.sum() == values.size and not isinstance(transformer, MixedTransformer):
        # Parts of one size change places instead of masks, so all layers are equal.
        equal = [
            joined([*before(), make(mask=values, swap=True)]) for _ in range(depth - depth % 2)
        ]
    else:
        equal = [
            Chain([*before(), make(mask=values), *before(), make(mask=~values)])
            for _ in range(depth // 2)
        ]
    rest = [*before(), make(mask=values)] if depth % 2 else []
    return [Stack(equal, reversible=reversible, remat=remat), *rest, *before()]


def first_layer(preprocess: nnx.Module | None) -> list[Any]:
    """The preprocessing as the first layers of a chain: one or none."""
    return [] if preprocess is None else [preprocess]
