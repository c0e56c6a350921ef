"""Masked and inverse autoregressive flows on vectors."""

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
from dgmjax.models.couplings import first_layer
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
        (rational-quadratic, 8 bins on [-4, 4]: RQ-NSF (AR)), or any `dgmjax.bijectors.Transformer`, e.g.
        ``dgmjax.SplineTransformer(16, bound=8.0)``.
      scale_fn: bounded map of the log-scales of affine layers: ``"tanh"``, ``"sigmoid"``, ``"double_sigmoid"``,
        ``"softplus"``, ``"exp"`` or a function, see `dgmjax.bijectors.scale_fn`.
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
        scale_fn: ScaleFn = "tanh",
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
        layers = _layers(
            event_shape,
            depth,
            transformer=_transformer("MAF", transformer, scale_fn),
            sequential=sequential,
            width=width,
            hidden_layers=hidden_layers,
            activation=activation,
            dropout=dropout,
            context_shape=context_shape,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        stack = _alternating(layers, remat=remat)
        super().__init__(Chain([*first_layer(preprocess), *stack]), base)


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
        scale_fn: ScaleFn = "tanh",
        sequential: str = "incremental",
        activation: Activation = "relu",
        context_shape: Sequence[int] | None = None,
        remat: bool = False,
        compute_dtype: str | None = None,
        preprocess: Bijector | None = None,
        base: DistributionLike | None = None,
        rngs: nnx.Rngs,
    ):
        layers = _layers(
            event_shape,
            depth,
            transformer=_transformer("IAF", transformer, scale_fn),
            sequential=sequential,
            width=width,
            hidden_layers=hidden_layers,
            activation=activation,
            dropout=0.0,
            context_shape=context_shape,
            compute_dtype=compute_dtype,
            rngs=rngs,
        )
        stack = _alternating([Inverse(layer) for layer in layers], remat=remat)
        super().__init__(Chain([*first_layer(preprocess), *stack]), base)


def _layers(event_shape: Sequence[int], depth: int, **options: Any) -> list[MaskedAutoregressive]:
    if len(event_shape) != 1:
        raise ValueError(
            f"autoregressive flows: expected event_shape (d,), got {tuple(event_shape)}; flatten the data."
        )
    if depth < 1:
        raise ValueError(f"autoregressive flows: depth must be at least 1, got {depth}.")
    return [MaskedAutoregressive(event_shape, **options) for _ in range(depth)]


def _alternating(layers: list[Any], *, remat: bool) -> list[Bijector]:
    """The layers with a reversal after each, so that equal layers alternate in order; an even number of reversals."""
    reverse = Permute.reverse(layers[0].event_shape)
    even = [Chain([layer, reverse]) for layer in layers[: len(layers) - len(layers) % 2]]
    return [*([Stack(even, remat=remat)] if even else []), *layers[len(even) :]]


def _transformer(
    where: str, transformer: TransformerName | Transformer, scale_fn: ScaleFn
) -> Transformer:
    named: dict[str, Callable[[], Transformer]] = {
        "affine": lambda: AffineTransformer(scale_fn),
        "gated": GatedTransformer,
        "spline": lambda: SplineTransformer(num_bins=8, bound=4.0),
    }
    return choose_transformer(transformer, named, where=where)
