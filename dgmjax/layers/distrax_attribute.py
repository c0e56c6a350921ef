"""Objects of distrax as attributes of modules."""

from typing import Any

import distrax
import jax
from flax import nnx

from dgmjax.nets.summary import Module


class DistraxContainer(Module):
    """The arrays of a distrax object, by number, and its structure: ``flax.nnx`` sees plain arrays."""

    is_container = True

    def __init__(self, value: Any):
        leaves, self.structure = jax.tree.flatten(value)
        self.count = len(leaves)
        for index, leaf in enumerate(leaves):
            setattr(self, str(index), nnx.data(leaf))

    @property
    def value(self) -> Any:
        """The object."""
        leaves = [getattr(self, str(index)) for index in range(self.count)]
        return jax.tree.unflatten(self.structure, leaves)


class distrax_attribute:  # noqa: N801 - used like a property
    """An attribute that may be given a distrax object and is a `DistraxContainer` inside.

    ``base = distrax_attribute()`` in the class declares it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        if module is None:
            return self
        try:
            value = vars(module)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None
        return value.value if isinstance(value, DistraxContainer) else value

    def __set__(self, module: Any, value: Any) -> None:
        if isinstance(value, distrax.Distribution | distrax.Bijector):
            value = DistraxContainer(value)
        vars(module)[self.name] = value

    def __delete__(self, module: Any) -> None:
        del vars(module)[self.name]
