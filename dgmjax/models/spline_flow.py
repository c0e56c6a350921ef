"""Neural spline flows on vectors."""

from collections.abc import Sequence

import numpy as np
from flax import nnx

from dgmjax.bijectors.spline import SplineTransformer
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.conditioner import MakeConditioner
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.angles import base_of_kinds, by_kind, checked_circular, closed_like
from dgmjax.models.couplings import alternating_couplings, first_layer
from dgmjax.models.linear_steps import Linear
from dgmjax.nets.activations import Activation


@recorded
class NeuralSplineFlow(Flow):
    """``depth`` rational-quadratic spline couplings with alternating masks: RQ-NSF (C), its LU layers as an option.

    Args:
      event_shape: ``(d,)``; of a single element the splines have parameters of their own, or of the context.
      depth: number of couplings, at least 2.
      width: hidden units of the conditioners.
      hidden_layers: hidden layers of the conditioners.
      conditioner: makes your own network of every coupling: ``conditioner(in_size, out_shape, context_size=k)``, see
        `dgmjax.RealNVP`.
      num_bins: bins of each spline.
      bound: the splines act on ``[-bound, bound]`` and are the identity outside.
      min_bin: smallest width and height of a bin, as a fraction of ``2 bound``.
      min_derivative: smallest derivative at an inner knot.
      linear: linear layers before, between and after the couplings: ``"affine"``, a trainable scale and shift of every
        element; ``"lu"``, a `dgmjax.PLULinear`; or ``"none"``.
      circular: ``d`` booleans, True for angles, from ``-pi`` to ``pi``. Their splines close, networks see their cosine
        and sine, and the default base is uniform on their circles.
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans; ``True`` passes through the first coupling unchanged.
      activation: of the conditioners, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(c,)`` for a conditional flow.
      reversible: gradients with activation memory that does not grow with the depth, see `dgmjax.Stack`.
      remat: gradients that store the input of each coupling and recompute its network, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the networks in mixed precision, see `dgmjax.nets.MLP`.
      preprocess: a fixed first layer on the data; `dgmjax.layers.Standardize` brings it inside the bound.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Source: Durkan et al., 2019, *Neural spline flows*, arXiv:1906.04032.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 6,
        width: int = 64,
        hidden_layers: int = 2,
        conditioner: MakeConditioner | None = None,
        num_bins: int = 8,
        bound: float = 4.0,
        min_bin: float = 1e-3,
        min_derivative: float = 1e-3,
        linear: Linear = "none",
        circular: Sequence[bool] | None = None,
        mask: str | np.ndarray | Sequence[bool] = "alternating",
        activation: Activation = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        reversible: bool = False,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        circular = checked_circular(circular, event_shape, where="NeuralSplineFlow")
        splines = SplineTransformer(num_bins, bound, min_bin, min_derivative)
        couplings = alternating_couplings(
            "NeuralSplineFlow",
            event_shape,
            by_kind(circular, splines, closed_like(splines)),
            linear=linear,
            circular=circular,
            depth=depth,
            mask=mask,
            width=width,
            hidden_layers=hidden_layers,
            conditioner=conditioner,
            context_shape=context_shape,
            reversible=reversible,
            remat=remat,
            activation=activation,
            dropout=dropout,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        base = base_of_kinds(circular) if base is None else base
        super().__init__(Chain([*first_layer(preprocess), *couplings]), base)
