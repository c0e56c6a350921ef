"""Flows as priors of latents."""

from collections.abc import Callable

from flax import nnx

from dgmjax.distributions.flow import Flow
from dgmjax.models.maf import MAF
from dgmjax.models.realnvp import RealNVP

_KINDS: dict[str, Callable[..., Flow]] = {"realnvp": RealNVP, "maf": MAF}


def FlowPrior(  # noqa: N802 - reads like the priors that are classes
    dim: int, kind: str = "realnvp", *, depth: int = 8, width: int = 64, rngs: nnx.Rngs
) -> Flow:
    """A `dgmjax.RealNVP` or `dgmjax.MAF` on ``(dim,)``; a fresh one is the standard normal.

    Args:
      dim: number of latents; ``"realnvp"`` needs two.
      kind: ``"realnvp"``, fast in both directions, or ``"maf"``, fast in density and slow in sampling.
      depth: number of layers.
      width: hidden units of their networks.
      rngs: ``nnx.Rngs`` for the initial weights.

    Raises:
      ValueError: unknown kind, or a number out of range.
    """
    if kind not in _KINDS:
        raise ValueError(f"FlowPrior: expected a kind of {sorted(_KINDS)}, got {kind!r}.")
    return _KINDS[kind]((dim,), depth=depth, width=width, rngs=rngs)
