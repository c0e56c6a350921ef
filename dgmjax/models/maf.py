"""Masked and inverse autoregressive flows on vectors."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from flax import nnx

from dgmjax.bijectors.affine import AffineTransformer, GatedTransformer
from dgmjax.bijectors.scales import ScaleFn
from dgmjax.bijectors.spline import SplineTransformer
from dgmjax.bijectors.transformer import Transformer, choose_transformer
from dgmjax.distributions.base import DistributionLike
from dgmjax.distributions.flow import Flow
from dgmjax.layers.autoregressive import MaskedAutoregressive
from dgmjax.layers.bijector import Bijector
from dgmjax.layers.combinators import Chain, Inverse
from dgmjax.layers.permute import Permute
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.stack import Stack
from dgmjax.models.angles import base_of_kinds, by_kind, checked_circular, closed_like
from dgmjax.models.couplings import first_layer
from dgmjax.models.linear_steps import Linear, linear_layer
from dgmjax.nets.activations import Activation

TransformerName = Literal["affine", "gated", "spline"]


@recorded
class MAF(Flow):
    """``depth`` masked autoregressive layers whose order alternates: density in one pass, sampling element by element.

    Args:
      event_shape: ``(d,)``.
      depth: number of layers.
      width: hidden units of each MADE.
      hidden_layers: hidden layers of each MADE.
      transformer: ``"affine"``, ``"gated"`` (IAF's numerically stable form, `dgmjax.GatedTransformer`), ``"spline"``
        (rational-quadratic: RQ-NSF (AR)), or any `dgmjax.bijectors.Transformer`. Of a single element ``"affine"`` and
        ``"gated"`` maps, which would leave the shape of the base, are splines too.
      num_bins: bins of each spline.
      bound: the splines act on ``[-bound, bound]`` and are the identity outside.
      min_bin: smallest width and height of a bin, as a fraction of ``2 bound``.
      min_derivative: smallest derivative of a spline at an inner knot.
      scale_fn: bounded map of the log-scales of affine layers: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
      linear: linear layers before, between and after the autoregressive ones: ``"affine"``, a trainable scale and shift
        of every element; ``"lu"``, a `dgmjax.PLULinear`; or ``"none"``.
      circular: ``d`` booleans, True for angles, from ``-pi`` to ``pi``. Their splines close, networks see their cosine
        and sine, and the default base is uniform on their circles. It needs ``transformer="spline"``, and
        ``sequential`` is ``"jacobi"`` then.
      sequential: ``"incremental"`` or ``"jacobi"``, see `dgmjax.MaskedAutoregressive`.
      remat: gradients that store the input of each pair of layers and recompute the rest, see `dgmjax.Stack`.
      compute_dtype: ``"bfloat16"`` or ``"float16"`` runs the MADEs in mixed precision, see `dgmjax.nets.MLP`.
      activation: of the MADEs, a name or a function, see `dgmjax.nets.activation_fn`.
      dropout: in the MADEs, active when a key is given to `log_prob`.
      context_shape: ``(c,)`` for a conditional flow.
      preprocess: a fixed first layer on the data.
      base: distribution of the latents; default standard normal.
      rngs: ``nnx.Rngs`` for the initial weights.

    Unlike coupling flows it takes no network of yours: an own one would have to be autoregressive, which nothing here
    could check, and sampling needs the masked kernels.

    Example:
      >>> import jax, dgmjax as dgm
      >>> from flax import nnx
      >>> flow = dgm.MAF((3,), depth=2, width=8, rngs=nnx.Rngs(0))
      >>> x, log_prob = flow.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(5,))
      >>> bool(jax.numpy.allclose(flow.log_prob(x), log_prob, atol=1e-4))
      True

    Source: Papamakarios et al., 2017, *Masked autoregressive flow for density estimation*, arXiv:1705.07057.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 5,
        width: int = 128,
        hidden_layers: int = 2,
        transformer: TransformerName | Transformer = "affine",
        num_bins: int = 8,
        bound: float = 4.0,
        min_bin: float = 1e-3,
        min_derivative: float = 1e-3,
        scale_fn: ScaleFn = "tanh",
        linear: Linear = "none",
        circular: Sequence[bool] | None = None,
        sequential: str = "incremental",
        activation: Activation = "relu",
        dropout: float = 0.0,
        context_shape: Sequence[int] | None = None,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        circular = checked_circular(circular, event_shape, where="MAF")
        steps = _steps(
            "MAF",
            event_shape,
            turned=False,
            depth=depth,
            transformer=transformer,
            splines=SplineTransformer(num_bins, bound, min_bin, min_derivative),
            scale_fn=scale_fn,
            linear=linear,
            circular=circular,
            sequential=sequential,
            remat=remat,
            rngs=rngs,
            width=width,
            hidden_layers=hidden_layers,
            activation=activation,
            dropout=dropout,
            context_shape=context_shape,
            compute_dtype=compute_dtype,
        )
        base = base_of_kinds(circular) if base is None else base
        super().__init__(Chain([*first_layer(preprocess), *steps]), base)


@recorded
class IAF(Flow):
    """``depth`` inverse autoregressive layers whose order alternates: samples in one pass, density element by element.

    Each layer is `dgmjax.Inverse` of a layer of `MAF`, ``x_i = (z_i - t_i(z_<i)) exp(-s_i(z_<i))``: the flow to train
    by reverse Kullback-Leibler divergence, or as a posterior. Arguments as in `MAF`, without dropout, which the
    sequential density could not follow.

    Source: Kingma et al., 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        depth: int = 5,
        width: int = 128,
        hidden_layers: int = 2,
        transformer: TransformerName | Transformer = "affine",
        num_bins: int = 8,
        bound: float = 4.0,
        min_bin: float = 1e-3,
        min_derivative: float = 1e-3,
        scale_fn: ScaleFn = "tanh",
        linear: Linear = "none",
        circular: Sequence[bool] | None = None,
        sequential: str = "incremental",
        activation: Activation = "relu",
        context_shape: Sequence[int] | None = None,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        circular = checked_circular(circular, event_shape, where="IAF")
        steps = _steps(
            "IAF",
            event_shape,
            turned=True,
            depth=depth,
            transformer=transformer,
            splines=SplineTransformer(num_bins, bound, min_bin, min_derivative),
            scale_fn=scale_fn,
            linear=linear,
            circular=circular,
            sequential=sequential,
            remat=remat,
            rngs=rngs,
            width=width,
            hidden_layers=hidden_layers,
            activation=activation,
            context_shape=context_shape,
            compute_dtype=compute_dtype,
        )
        base = base_of_kinds(circular) if base is None else base
        super().__init__(Chain([*first_layer(preprocess), *steps]), base)


def _steps(
    name: str,
    event_shape: Sequence[int],
    *,
    turned: bool,
    depth: int,
    transformer: TransformerName | Transformer,
    splines: SplineTransformer,
    scale_fn: ScaleFn,
    linear: Linear,
    circular: Sequence[bool] | None,
    sequential: str,
    remat: bool,
    rngs: nnx.Rngs,
    **options: Any,
) -> list[Bijector]:
    """``depth`` layers with linear ones around, ``turned`` to their inverses for `IAF`, whose order alternates.

    After each comes a reversal, an even number of them, so that equal layers are one `dgmjax.Stack`. Elements of
    several kinds keep their places, and pairs of layers have both orders instead.
    """
    if len(event_shape) != 1:
        raise ValueError(
            f"{name}: expected event_shape (d,), got {tuple(event_shape)}; flatten the data."
        )
    if depth < 1:
        raise ValueError(f"{name}: depth must be at least 1, got {depth}.")
    made = functools.partial(
        MaskedAutoregressive,
        event_shape,
        transformer=_transformer(name, transformer, scale_fn, splines, event_shape, circular),
        sequential=sequential if circular is None else "jacobi",
        rngs=rngs,
        **options,
    )

    def step(*after: Bijector, order: str = "sequential") -> list[Bijector]:
        before = linear_layer(linear, event_shape, where=name, rngs=rngs, circular=circular)
        layer = made(order=order)
        return [*before, Inverse(layer) if turned else layer, *after]

    if circular is None:
        reverse = Permute.reverse(event_shape)
        equal = [Chain(step(reverse)) for _ in range(depth - depth % 2)]
    else:
        equal = [Chain([*step(), *step(order="reverse")]) for _ in range(depth // 2)]
    rest = step() if depth % 2 else []
    last = linear_layer(linear, event_shape, where=name, rngs=rngs, circular=circular)
    return [*([Stack(equal, remat=remat)] if equal else []), *rest, *last]


def _transformer(
    name: str,
    transformer: TransformerName | Transformer,
    scale_fn: ScaleFn,
    splines: SplineTransformer,
    event_shape: Sequence[int],
    circular: Sequence[bool] | None,
) -> Transformer:
    if circular is not None:
        if transformer != "spline":
            raise ValueError(
                f"{name}: circular: angles are mapped by transformer='spline', got {transformer!r}."
            )
        return by_kind(circular, splines, closed_like(splines))
    is_spline = transformer == "spline" or (
        tuple(event_shape) == (1,) and isinstance(transformer, str)
    )
    if not is_spline and splines != SplineTransformer(num_bins=8, bound=4.0):
        raise ValueError(
            f"{name}: num_bins, bound, min_bin and min_derivative are those of transformer='spline', got "
            f"transformer={transformer!r}."
        )
    named: dict[str, Callable[[], Transformer]] = {
        "affine": lambda: splines if is_spline else AffineTransformer(scale_fn),
        "gated": lambda: splines if is_spline else GatedTransformer(),
        "spline": lambda: splines,
    }
    return choose_transformer(transformer, named, where=name)
