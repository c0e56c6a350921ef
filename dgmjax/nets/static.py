"""Arrays that are part of a module's structure rather than of its data."""

import numpy as np


class StaticArray:
    """A hashable, read-only NumPy array: a mask or a permutation known when the program is built.

    Held by a module it is no pytree leaf: no optimizer, cast or gradient can touch it, `jax.grad` of a module
    meets only floating-point leaves, and XLA sees it as a constant.
    """

    __slots__ = ("_hash", "value")

    def __init__(self, value: np.ndarray):
        self.value = np.array(value)
        self.value.setflags(write=False)
        self._hash = hash((self.value.shape, self.value.dtype.str, self.value.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, StaticArray)
            and self._hash == other._hash
            and self.value.dtype == other.value.dtype
            and np.array_equal(self.value, other.value)
        )

    def __repr__(self) -> str:
        return f"StaticArray(shape={self.value.shape}, dtype={self.value.dtype})"
