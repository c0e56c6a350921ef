"""Residual flows on vectors."""

from collections.abc import Sequence

from flax import nnx

from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.actnorm import ActNorm
from dgmjax.layers.amortized import vector_event
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.residual import Residual
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.stack import Stack
from dgmjax.models.couplings import first_layer
from dgmjax.nets.lipschitz import LipschitzMLP


@recorded
class ResidualFlow(Flow):
    """``depth`` blocks ``x + g(x)`` with contractive networks, and activation normalisation before, between and after.

    Density evaluation is direct, sampling iterates every block to a fixed point. Invertible for any parameters, so
    any optimizer may move them. The blocks are one `dgmjax.Stack`: compile time does not grow with ``depth``.

    Args:
      event_shape: ``(d,)``.
      depth: number of blocks, at least 1.
      width: hidden units of the networks.
      hidden_layers: hidden layers of the networks.
      coefficient: bound on the spectral norm of each kernel, in (0, 1). A block is a contraction with the constant
        ``coefficient ** (hidden_layers + 1)``: near 1 it can do more, and sampling takes more iterations.
      log_det: ``"exact"``, ``"truncated"`` or ``"unbiased"``: the log-determinant where `log_prob` gets a key, as in
        training. Without a key it is exact. See `dgmjax.layers.Residual`.
      context_shape: ``(c,)`` for a conditional flow ``p(x | context)``.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.layers.Standardize` or `dgmjax.layers.Logit`.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: an event or context that is no vector, or a number out of range.

    A fresh flow is its preprocessing followed by the identity.

    Source: Chen et al., 2019, *Residual Flows for Invertible Generative Modeling*, arXiv:1906.02735; Behrmann et
      al., 2019, *Invertible Residual Networks*, arXiv:1811.00995.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 8,
        width: int = 64,
        hidden_layers: int = 2,
        coefficient: float = 0.97,
        log_det: str = "exact",
        context_shape: Sequence[int] | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        (size,) = vector_event(event_shape, where="ResidualFlow")
        if depth < 1:
            raise ValueError(f"ResidualFlow: depth must be at least 1, got {depth}.")
        if context_shape is not None and len(context_shape) != 1:
            raise ValueError(
                f"ResidualFlow: expected a vector context (c,), got {tuple(context_shape)}."
            )
        blocks = []
        for _ in range(depth):
            net = LipschitzMLP(
                size,
                size,
                width=width,
                depth=hidden_layers,
                context_size=0 if context_shape is None else context_shape[0],
                coefficient=coefficient,
                rngs=rngs,
            )
            residual = Residual((size,), net, context_shape=context_shape, log_det=log_det)
            blocks.append(Chain([residual, ActNorm((size,))]))
        layers = [*first_layer(preprocess), ActNorm((size,)), Stack(blocks)]
        super().__init__(Chain(layers), base)
