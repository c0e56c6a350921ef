"""RealNVP on vectors."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.masks import vector_mask
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.constructor import recorded
from dgmjax.layers.coupling import Coupling
from dgmjax.layers.flow import Flow
from dgmjax.nets.mlp import MLP


@recorded
class RealNVP(Flow):
    """``depth`` affine couplings whose masks alternate between ``mask`` and its complement.

    Args:
      event_shape: ``(d,)``, ``d >= 2``.
      depth: number of couplings, at least 2 (with fewer some elements are never transformed).
      width: hidden units of the conditioners.
      hidden_layers: hidden layers of the conditioners.
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans; ``True`` passes through the first coupling unchanged.
      scale_fn: bounded map of the log-scales, see `dgmjax.bijectors.scale_fn`.
      activation: of the conditioners, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(c,)`` for a conditional flow ``p(x | context)``.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.layers.Standardize` or `dgmjax.layers.Logit`.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    A fresh flow is its preprocessing followed by the identity.

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 8,
        width: int = 64,
        hidden_layers: int = 2,
        mask: str | np.ndarray | Sequence[bool] = "alternating",
        scale_fn: str = "tanh",
        activation: str = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        preprocess: Bijector | None = None,
        base: Any = None,
        rngs: nnx.Rngs,
    ):
        event_shape = tuple(event_shape)
        if len(event_shape) != 1 or event_shape[0] < 2:
            raise ValueError(
                f"RealNVP: expected event_shape (d,) with d >= 2, got {event_shape}; flatten images to vectors, "
                f"or fit a one-dimensional density with distrax."
            )
        if depth < 2:
            raise ValueError(f"RealNVP: depth must be at least 2, got {depth}.")
        values = vector_mask(mask, event_shape[0])
        make_conditioner = functools.partial(
            MLP,
            width=width,
            depth=hidden_layers,
            activation=activation,
            dropout=dropout,
            rngs=rngs,
        )
        couplings = [
            Coupling(
                event_shape,
                mask=values if index % 2 == 0 else ~values,
                make_conditioner=make_conditioner,
                transformer=AffineTransformer(scale_fn),
                context_shape=context_shape,
            )
            for index in range(depth)
        ]
        super().__init__(Chain([*([] if preprocess is None else [preprocess]), *couplings]), base)
