"""The same model with activations stored instead of rebuilt."""

from typing import Any, TypeVar

from flax import nnx

from dgmjax.layers.serialization.recorded import with_argument

Model = TypeVar("Model", bound=nnx.Module)


def not_reversible(model: Model) -> Model:
    """``model`` as built with ``reversible=False``, with its weights: a new module, saved with that setting too.

    Its stacks store their activations, so forward-mode derivatives (``jax.jvp``, ``jax.jacfwd``, ``jax.hessian``,
    ``jax.linearize``) exist; those of a reversible model do in reverse mode only. Values and gradients are the same,
    but for the rounding of the inverses.

    Example:
      >>> import jax, jax.numpy as jnp, dgmjax as dgm
      >>> stack = dgm.Stack([dgm.ActNorm((2,))], reversible=True)
      >>> jax.jacfwd(dgm.layers.not_reversible(stack).forward)(jnp.ones(2)).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    new = nnx.clone(model)
    part: Any
    for _, part in nnx.iter_modules(new):
        if getattr(part, "reversible", False):
            part.reversible = False
        if getattr(part, "anchor_every", None) is not None:
            part.anchor_every = None
        with_argument(part, "reversible", value=False, without=("anchor_every",))
    return new
