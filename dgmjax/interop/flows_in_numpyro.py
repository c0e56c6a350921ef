"""Flows in numpyro: as priors and likelihoods, and as guides whose parameters SVI trains."""

from typing import Any

import jax

from dgmjax.distributions.flow import Flow
from dgmjax.interop.distrax import context_batch, fixed_context
from dgmjax.training.partition import partition


def to_numpyro(flow: Flow, context: jax.Array | None = None, *, support: Any = None) -> Any:
    """A real ``numpyro.distributions.Distribution`` of a flow, its arrays shared and constant.

    ``numpyro.sample("z", dgm.interop.to_numpyro(flow))`` has ``batch_shape`` ``()``, or the batch of the context, and
    ``event_shape`` that of the flow. It goes into plates, ``expand``, ``obs=`` and NUTS.

    Args:
      flow: exact density of continuous data.
      context: ``[*batch, *context_shape]`` at which to fix a conditional flow.
      support: a numpyro constraint for a flow that does not reach all real numbers, e.g.
        ``constraints.unit_interval`` for one whose first layer is a `dgmjax.SigmoidTransformer`; samplers move in it.

    Raises:
      TypeError: a model that is no flow; a bound on a likelihood is no density, so it cannot be a site of a model.
      ValueError: a context where none is taken, a missing one, or one of another shape.
      ModuleNotFoundError: numpyro is not installed.
    """
    from dgmjax.interop.numpyro_distribution import FlowDistribution

    if not isinstance(flow, Flow):
        raise TypeError(
            f"to_numpyro: expected a dgmjax.Flow, whose log_prob is an exact density, got {type(flow).__name__}; of "
            f"a dgmjax.Dequantized model pass its density."
        )
    expected = flow.context_shape
    context = fixed_context(flow, context, where="to_numpyro")
    batch = context_batch(context, expected)
    fits = context is None if expected is None else context is not None
    if not fits or (context is not None and context.shape != (*batch, *(expected or ()))):
        given = None if context is None else context.shape
        raise ValueError(
            f"to_numpyro: the flow has context_shape {expected}, got a context of shape {given}; a conditional flow "
            f"needs one of shape [*batch, *context_shape], another flow none."
        )
    return FlowDistribution(flow, context, support=support)


def numpyro_flow(
    name: str, flow: Flow, context: jax.Array | None = None, *, support: Any = None
) -> Any:
    """`to_numpyro` with the trainable arrays of ``flow`` registered as ``numpyro.param(name + "$params")``.

    In a guide: ``numpyro.sample("z", dgm.interop.numpyro_flow("z", flow))``; SVI trains the flow. With
    ``context=`` features of the data and a conditional flow the guide is amortized.

    Args:
      name: of the parameters; may equal the name of the sample site.
      flow: start of the training; not changed, see `flow_from_numpyro`.
      context: as in `to_numpyro`.
      support: as in `to_numpyro`.
    """
    import numpyro

    params, fixed, merge = partition(flow)
    return to_numpyro(merge(numpyro.param(_site(name), params), fixed), context, support=support)


def flow_from_numpyro(name: str, flow: Flow, params: dict[str, Any]) -> Flow:
    """``flow`` with the arrays that SVI found for `numpyro_flow` of that ``name``.

    Args:
      name: as given to `numpyro_flow`.
      flow: as given to `numpyro_flow`.
      params: ``svi.get_params(state)``, or ``svi.run(...).params``.

    Raises:
      KeyError: the guide registered no flow of this name.
    """
    if _site(name) not in params:
        raise KeyError(
            f"flow_from_numpyro: there is no {_site(name)!r} among {sorted(params)}; give the name that numpyro_flow "
            f"was given."
        )
    _, fixed, merge = partition(flow)
    return merge(params[_site(name)], fixed)


def _site(name: str) -> str:
    return f"{name}$params"
