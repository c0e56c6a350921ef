"""An identity whose derivative exists in reverse mode only, and says so in forward mode."""

from typing import Any, NoReturn

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# An equation of a linear program, between tangents. Reverse mode transposes it and never runs it.
_tangents_p = Primitive("reverse_only")
_tangents_p.multiple_results = True


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError(
        "a reversible stack rebuilds its activations going back, so it has derivatives in reverse mode only: no "
        "jax.jvp, jax.jacfwd, jax.linearize or jax.hessian. Build the model with reversible=False, or make that of "
        "this one, with its weights, by dgmjax.layers.not_reversible(model); jax.jacrev(jax.grad(f)) is a Hessian too."
    )


_tangents_p.def_impl(_refuse)
_tangents_p.def_abstract_eval(lambda *avals: avals)
ad.primitive_transposes[_tangents_p] = lambda cotangents, *_: cotangents
batching.primitive_batchers[_tangents_p] = _refuse
mlir.register_lowering(_tangents_p, _refuse)


@jax.custom_jvp
def reverse_only(leaves: list[jax.Array]) -> list[jax.Array]:
    """``leaves``, floating-point arrays. Forward mode raises a TypeError that says what to do."""
    return leaves


@reverse_only.defjvp
def _reverse_only_jvp(primals: Any, tangents: Any) -> tuple[list[jax.Array], list[jax.Array]]:
    # Not the primals themselves: an outer derivative, as in a Hessian, has to meet the rule too.
    return reverse_only(*primals), _tangents_p.bind(*tangents[0]) if tangents[0] else []
