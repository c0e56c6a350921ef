"""Data-dependent starts happen once: a module remembers, in an array, that it has been set from data."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Method = TypeVar("Method", bound=Callable[..., Any])
Model = TypeVar("Model")

# The name of the array that remembers.
MEMORY = "data_initialised"


def not_initialised() -> jax.Array:
    """The first value of ``self.data_initialised`` of a module with a `data_init_once` method: 0.

    A floating-point array that is data, no parameter: it is stacked, cast, saved and restored with the module's others,
    and `jax.grad` of a whole module meets no integer.
    """
    return nnx.data(jnp.zeros((), jnp.float32))


def data_init_once(method: Method) -> Method:
    """Decorator of a ``with_data_init``: where the module, or all in it that remembers, is initialised, it stays as is.

    A module with an array ``data_initialised``, see `not_initialised`, gets 1 there with its first start. One without
    hands the call on to its parts, of which each decides for itself.

    Example:
      >>> import jax.numpy as jnp, dgmjax as dgm
      >>> layer = dgm.Standardize((1,)).with_data_init(jnp.array([[1.0], [3.0]]))
      >>> layer.with_data_init(jnp.array([[5.0], [7.0]])).mean.tolist()
      [2.0]
    """

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        flags = _flags(self)
        known = not any(isinstance(flag, jax.core.Tracer) for flag in flags)
        if flags and known and all(np.asarray(flag).all() for flag in flags):
            return self
        new, own = method(self, *args, **kwargs), getattr(self, MEMORY, None)
        if own is None:
            return new
        new = nnx.clone(new)
        setattr(new, MEMORY, nnx.data(jnp.ones_like(own)))
        if isinstance(own, jax.core.Tracer):  # a layer of a scan: not known before it runs
            new = jax.tree.map(lambda a, b: jnp.where(own > 0, a, b.astype(a.dtype)), self, new)
        return new

    return wrapper  # type: ignore[return-value]


def remembers(module: Any) -> bool:
    """Whether ``module``, or a part of it, has an array that says if it has been initialised."""
    return bool(_flags(module))


def forget_data_init(model: Model) -> Model:
    """``model`` with the same arrays, but all data-dependent parts waiting for data: the next start sets them anew.

    That is the next ``with_data_init``, or `dgmjax.fit`, as for a model trained on data of another scale:
    ``dgm.fit(dgm.layers.forget_data_init(model), x, seed=key)``.
    """
    return _with_flags(model, 0.0)


def as_initialised(model: Model) -> Model:
    """``model`` with the same arrays, none of which a later ``with_data_init`` changes: it has been trained."""
    return _with_flags(model, 1.0)


def is_memory(path: tuple[Any, ...]) -> bool:
    """Whether ``path``, of `jax.tree_util`, leads to an array that says if a module has been initialised."""
    return any(getattr(path[-1], name, None) == MEMORY for name in ("key", "name"))


def _flags(module: Any) -> list[jax.Array]:
    return [leaf for path, leaf in jax.tree.leaves_with_path(module) if path and is_memory(path)]


def _with_flags(model: Model, value: float) -> Model:
    def changed(path: tuple[Any, ...], leaf: Any) -> Any:
        return jnp.full_like(leaf, value) if is_memory(path) else leaf

    # By nnx, which keeps what two modules share in one place.
    graphdef, state = nnx.split(model)
    return nnx.merge(graphdef, jax.tree.map_with_path(changed, state))
