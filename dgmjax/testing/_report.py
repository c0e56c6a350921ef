"""Violations of laws: collected, located, and told in one message."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

JIT_HINT = "the result depends on Python state, or on concrete values that tracing does not have"
_UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class LawViolation(AssertionError):
    """A checked object broke at least one law; the message has one numbered entry for each.

    Attributes:
        laws: names of the broken laws, in the order of the message, each once.
    """

    def __init__(self, message: str, laws: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.laws = laws


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Where two arrays of shape [*batch, *event] differ, for hints that look at the values."""

    got: np.ndarray
    expected: np.ndarray
    tolerance: float


Hint = str | Callable[[Comparison], str]


def as_float(value: ArrayLike) -> np.ndarray:
    """Returns the value in NumPy float64, so that verdicts do not depend on JAX's precision."""
    return np.asarray(value).astype(np.float64)


def close(got: ArrayLike, expected: ArrayLike, tolerance: float) -> bool:
    """Whether |got - expected| <= tolerance + tolerance * |expected| everywhere."""
    try:
        chex.assert_trees_all_close(
            as_float(got), as_float(expected), rtol=tolerance, atol=tolerance
        )
    except AssertionError:
        return False
    return True


def place(index: tuple[int, ...], batch_ndims: int) -> str:
    """Names an index into [*batch, *event]."""
    batch = tuple(int(i) for i in index[:batch_ndims])
    element = tuple(int(i) for i in index[batch_ndims:])
    parts = [f"batch index {batch}"] if batch else []
    parts += [f"element {element}"] if element else []
    return ", ".join(parts) or "the only value"


class Report:
    """Collects violations of one object; ``raise_if_broken`` turns them into a ``LawViolation``."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._entries: list[tuple[str, str]] = []
        self._cause: Exception | None = None
        self._untraceable: set[str] = set()

    def add(self, law: str, what: str, *details: str, hint: str = "") -> None:
        """Records that ``law`` broke: what was compared, lines of detail, and the likely cause."""
        lines = [f"[{law}] {what}", *details]
        if hint:
            lines.append(f"hint: {hint}")
        self._entries.append((law, "\n     ".join(lines)))

    @contextlib.contextmanager
    def guard(
        self, law: str, what: str, *, hint: str = "", errors: type[Exception] = Exception
    ) -> Iterator[None]:
        """Counts an exception inside the block as a violation of ``law``.

        What needs concrete values breaks ``jit``, under whichever transformation it comes to light,
        and is told once for each ``what`` before its colon.
        """
        try:
            yield
        except errors as error:
            self._cause = self._cause or error
            if isinstance(error, _UNTRACEABLE):
                subject = what.partition(":")[0]
                if subject in self._untraceable:
                    return
                self._untraceable.add(subject)
                law, hint = "jit", JIT_HINT
            text = " ".join(str(error).split())
            text = text if len(text) <= 300 else text[:300] + " ..."
            self.add(law, what, f"raised {type(error).__name__}: {text}", hint=hint)

    def shape(
        self, law: str, what: str, got: tuple[int, ...], expected: tuple[int, ...], hint: str = ""
    ) -> bool:
        """Requires equal shapes; returns whether they are."""
        if got == expected:
            return True
        self.add(law, what, f"got shape {got}, expected {expected}", hint=hint)
        return False

    def finite(
        self,
        law: str,
        what: str,
        value: ArrayLike,
        *,
        batch_ndims: int,
        at: ArrayLike | None = None,
        at_label: str = "the input there is",
        hint: str = "",
    ) -> None:
        """Requires finite values; ``at`` is the input, shown where it has the bad value's index."""
        try:
            chex.assert_tree_all_finite(value)
        except AssertionError:
            array = as_float(value)
            bad = ~np.isfinite(array)
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            details = [
                f"at {place(index, batch_ndims)} ({bad.sum()} of {bad.size} values): {array[index]}"
            ]
            if at is not None:
                details.append(f"{at_label} {_brief(as_float(at), index, array.shape)}")
            self.add(law, what, *details, hint=hint)

    def close(
        self,
        law: str,
        what: str,
        got: ArrayLike,
        expected: ArrayLike,
        tolerance: float,
        *,
        batch_ndims: int,
        hint: Hint = "",
        places: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        """Requires equal shapes and values of [*batch, *event] arrays; names the worst element.

        Where the first axis is a selection of events, ``places`` has the batch index of each.
        """
        a, b = as_float(got), as_float(expected)
        if not self.shape(law, what, a.shape, b.shape) or close(a, b, tolerance):
            return
        with np.errstate(invalid="ignore"):
            error = np.abs(a - b)
            excess = error / np.maximum(tolerance * (1 + np.abs(b)), np.finfo(float).tiny)
        # NaN compares false with everything, yet it is the worst disagreement there is.
        excess = np.where(np.isnan(excess), np.inf, excess)
        index = tuple(int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        allowed = tolerance * (1 + abs(b[index]))
        if places is None:
            where = place(index, batch_ndims)
        else:
            where = place((*places[index[0]], *index[1:]), len(places[index[0]]))
        self.add(
            law,
            what,
            f"worst at {where} ({np.count_nonzero(excess > 1)} of {excess.size} values differ)",
            f"got {a[index]:.8g}, expected {b[index]:.8g}",
            f"|difference| = {error[index]:.3g} > {allowed:.3g} "
            f"= {tolerance:.3g} + {tolerance:.3g} * |expected|",
            hint=hint(Comparison(a, b, tolerance)) if callable(hint) else hint,
        )

    def raise_if_broken(self) -> None:
        """Raises one ``LawViolation`` with all entries, if there are any."""
        if not self._entries:
            return
        laws = tuple(dict.fromkeys(law for law, _ in self._entries))
        numbered = [f"  {i}. {text}" for i, (_, text) in enumerate(self._entries, 1)]
        count = f"{len(laws)} law{'s' if len(laws) > 1 else ''}"
        message = "\n".join([f"{self.subject} breaks {count}:", *numbered])
        raise LawViolation(message, laws) from self._cause


def _brief(value: np.ndarray, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The part of ``value`` that belongs to ``index`` of an array of ``shape``."""
    part = value[index] if value.shape[: len(shape)] == shape else value
    return np.array2string(np.asarray(part), precision=6, threshold=12, edgeitems=3)


def is_floating(value: object) -> bool:
    """Whether the value is an array with a floating dtype (bfloat16 included)."""
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
