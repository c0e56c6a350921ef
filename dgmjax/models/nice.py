"""NICE on vectors and images."""

import math
from collections.abc import Sequence

import distrax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dgmjax.bijectors.affine import AdditiveTransformer
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import IID, Flow
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.conditioner import MakeConditioner
from dgmjax.layers.linear import DiagonalLinear
from dgmjax.layers.reshape import Reshape
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.couplings import alternating_couplings, first_layer
from dgmjax.nets.activations import Activation


@recorded
class NICE(Flow):
    """Additive couplings with alternating masks, a diagonal scaling next to the latents, a logistic prior.

    Couplings preserve volume, so the whole log-determinant is that of the scaling.

    Args:
      event_shape: ``(d,)``, ``d >= 2``, or ``(h, w, c)``: as in the paper the couplings then see the ``d = h w c``
        pixels as one vector.
      depth: number of couplings, at least 2.
      width: hidden units of the conditioners.
      hidden_layers: hidden layers of the conditioners.
      conditioner: makes your own network of every coupling: ``conditioner(in_size, out_shape, context_size=k)``, see
        `dgmjax.RealNVP`.
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans; ``True`` passes through the first coupling unchanged.
      activation: of the conditioners, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(c,)`` for a conditional flow.
      reversible: gradients with activation memory that does not grow with the depth, see `dgmjax.Stack`.
      remat: gradients that store the input of each coupling and recompute its network, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the networks in mixed precision, see `dgmjax.nets.MLP`.
      preprocess: a fixed first layer on the data.
      base: distribution of the latents; default independent standard logistic.
      rngs: ``nnx.Rngs`` for the initial weights.

    Source: Dinh et al., 2015, *NICE*, arXiv:1410.8516, sections 3.2-3.4 and 5.1 (4 couplings, 5 hidden layers of 1,000
    units on MNIST, logistic prior).
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 4,
        width: int = 128,
        hidden_layers: int = 2,
        conditioner: MakeConditioner | None = None,
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
        event_shape = tuple(event_shape)
        image = len(event_shape) == 3
        vector_shape = (math.prod(event_shape),) if image else event_shape
        if vector_shape == (1,):
            raise ValueError(
                "NICE: additive couplings of a single element only shift it; use dgmjax.NeuralSplineFlow((1,))."
            )
        couplings = alternating_couplings(
            "NICE",
            vector_shape,
            AdditiveTransformer(),
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
        if base is None:
            zero, one = jnp.zeros((), jnp.float32), jnp.ones((), jnp.float32)
            base = IID(distrax.Logistic(zero, one), vector_shape)
        flat = [Reshape(event_shape)] if image else []
        scaling = DiagonalLinear(vector_shape)
        super().__init__(Chain([*first_layer(preprocess), *flat, *couplings, scaling]), base)
