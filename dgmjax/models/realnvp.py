"""RealNVP on vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.constructor import recorded
from dgmjax.layers.flow import Flow
from dgmjax.models.couplings import alternating_couplings, first_layer


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
      shift_first: ``x = (z + t) s`` as in the code of the paper, instead of ``x = s z + t`` as in its text.
      activation: of the conditioners, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(c,)`` for a conditional flow ``p(x | context)``.
      reversible: gradients with activation memory that does not grow with the depth, see `dgmjax.Stack`.
      remat: gradients that store the input of each coupling and recompute its network, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the networks in mixed precision, see `dgmjax.nets.MLP`.
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
        shift_first: bool = False,
        activation: str = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        reversible: bool = False,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: Any = None,
        rngs: nnx.Rngs,
    ):
        couplings = alternating_couplings(
            "RealNVP",
            event_shape,
            AffineTransformer(scale_fn, shift_first),
            depth=depth,
            mask=mask,
            width=width,
            hidden_layers=hidden_layers,
            context_shape=context_shape,
            reversible=reversible,
            remat=remat,
            activation=activation,
            dropout=dropout,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        super().__init__(Chain([*first_layer(preprocess), *couplings]), base)
