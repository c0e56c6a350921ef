"""RealNVP on vectors."""

from collections.abc import Sequence

import numpy as np
from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.bijectors.spline import SplineTransformer
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain
from dgmjax.layers.conditioner import MakeConditioner
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.models.couplings import alternating_couplings, first_layer
from dgmjax.models.linear_steps import Linear
from dgmjax.nets.activations import Activation


@recorded
class RealNVP(Flow):
    """``depth`` affine couplings of vectors whose masks alternate; `dgmjax.ImageRealNVP` is the one for images.

    Args:
      event_shape: ``(d,)``; of a single element splines, `dgmjax.SplineTransformer`, take the place of affine maps,
        which would leave the shape of the base.
      depth: number of couplings, at least 2 (with fewer some elements are never transformed).
      width: hidden units of the conditioners.
      hidden_layers: hidden layers of the conditioners.
      conditioner: makes your own network of every coupling, called as ``conditioner(in_size, out_shape,
        context_size=k)``, on images as ``conditioner((h, w, in_channels), out_channels, context_size=k)``, and with
        ``rngs=`` if it has such a parameter. What it returns is called as ``net(kept, context, key=None)``, see
        `dgmjax.Coupling` and `dgmjax.ImageCoupling`; e.g. ``functools.partial(dgmjax.nets.MLP, width=32)``. It decides
        on ``width``, ``hidden_layers``, ``activation``, ``dropout`` and ``compute_dtype``, so these are not used.
        `dgmjax.save` writes functions and classes that their name finds again, and ``functools.partial`` of them with
        keyword arguments, see `dgmjax.load`.
      mask: ``"alternating"``, ``"half"`` or ``d`` booleans; ``True`` passes through the first coupling unchanged.
      scale_fn: bounded map of the log-scales: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
      shift_first: ``x = (z + t) s`` as in the code of the paper, instead of ``x = s z + t`` as in its text.
      linear: linear layers before, between and after the couplings: ``"affine"``, a trainable scale and shift of every
        element; ``"lu"``, a `dgmjax.PLULinear`; or ``"none"``.
      activation: of the conditioners, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: in the conditioners, active when a key is given to `log_prob`.
      context_shape: ``(k,)`` for a conditional flow ``p(x | context)``.
      reversible: gradients with activation memory that does not grow with the depth, see `dgmjax.Stack`.
      remat: gradients that store the input of each coupling and recompute its network, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the networks in mixed precision, see `dgmjax.nets.MLP`.
      preprocess: a fixed first layer on the data, e.g. `dgmjax.layers.Standardize` or `dgmjax.layers.Logit`.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: an event that is no vector, too few couplings, or a mask that does not fit.

    A fresh flow is its preprocessing followed by the identity.

    Example:
      >>> import jax, dgmjax as dgm
      >>> from flax import nnx
      >>> flow = dgm.RealNVP((3,), depth=2, width=8, context_shape=(1,), rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (5, 3))
      >>> flow.log_prob(x, x[:, :1]).shape  # conditional on one number
      (5,)

    Source: Dinh et al., 2017, *Density estimation using Real NVP*, arXiv:1605.08803, section 3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 8,
        width: int = 64,
        hidden_layers: int = 2,
        conditioner: MakeConditioner | None = None,
        mask: str | np.ndarray | Sequence[bool] = "alternating",
        scale_fn: ScaleFn = "tanh",
        shift_first: bool = False,
        linear: Linear = "none",
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
        if len(tuple(event_shape)) == 3:
            raise ValueError(
                f"RealNVP: expected a vector event (d,), got event_shape {tuple(event_shape)}; dgmjax.ImageRealNVP is "
                f"the one for images."
            )
        couplings = alternating_couplings(
            "RealNVP",
            event_shape,
            SplineTransformer(num_bins=8, bound=4.0)
            if tuple(event_shape) == (1,)
            else AffineTransformer(scale_fn, shift_first),
            linear=linear,
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
        super().__init__(Chain([*first_layer(preprocess), *couplings]), base)
