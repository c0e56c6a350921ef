"""Weights of one model as the start of another: what fits is copied, the rest is reported."""

import dataclasses
import pathlib
from typing import Any, Generic, TypeVar

from dgmjax.nets.data_init import MEMORY
from dgmjax.training.partition import Arrays, partition
from dgmjax.training.save import load

Model = TypeVar("Model")


@dataclasses.dataclass(frozen=True)
class Transfer(Generic[Model]):
    """The outcome of `transfer`.

    Attributes:
      model: the model with the copied arrays.
      copied: names of the arrays that came from the source, as of `partition`.
      fresh: names of the others of the model, with the reason.
      unused: names of the arrays of the source that the model has no place for.
    """

    model: Model
    copied: tuple[str, ...]
    fresh: dict[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """A line on the whole, and a line for each array that stays as it was."""
        total = len(self.copied) + len(self.fresh)
        lines = [
            f"{len(self.copied)} of {total} arrays copied, {len(self.unused)} of the source not used"
        ]
        return "\n".join(
            [*lines, *(f"  fresh: {name} ({why})" for name, why in self.fresh.items())]
        )


def transfer(model: Model, source: Any) -> Transfer[Model]:
    """``model`` with the arrays of ``source`` whose names and shapes agree, in the dtypes of ``model``.

    For fine-tuning, a model of another size, or one with more parts. Data-dependent parts all of whose arrays were
    copied count as initialised if they did there, so that `dgmjax.fit` sets the other ones only;
    `dgmjax.layers.forget_data_init` has all of them set from new data.

    Args:
      model: not changed.
      source: another model, the folder of one that `dgmjax.save` wrote, or the directory of a finished run.

    Raises:
      ValueError: no parameter fits.
      FileNotFoundError: no saved model there.

    Example:
      >>> import dgmjax as dgm
      >>> small, large = (
      ...     dgm.Chain([dgm.ActNorm((2,)) for _ in range(n)]) for n in (1, 2)
      ... )
      >>> print(dgm.training.transfer(large, small))
      3 of 6 arrays copied, 0 of the source not used
        fresh: layers/1/data_initialised (no such array in the source)
        fresh: layers/1/log_scale (no such array in the source)
        fresh: layers/1/shift (no such array in the source)
    """
    if isinstance(source, str | pathlib.Path):
        folder = pathlib.Path(source)
        source = load(folder if (folder / "model.json").exists() else folder / "model")
    params, fixed, merge = partition(model)
    ours, theirs = params | fixed, _arrays(source)
    fresh: dict[str, str] = {}
    for name, array in ours.items():
        if name not in theirs:
            fresh[name] = "no such array in the source"
        elif theirs[name].shape != array.shape:
            fresh[name] = f"{theirs[name].shape} there, {array.shape} here"
    for name in ours:
        owner, _, last = name.rpartition("/")
        if last == MEMORY and name not in fresh and any(_is_below(owner, part) for part in fresh):
            fresh[name] = "its arrays did not all fit"
    copied = tuple(sorted(name for name in ours if name not in fresh))
    if not params.keys() & set(copied):
        first = next(
            ((name, fresh[name]) for name in sorted(params)), ("none", "it has no parameters")
        )
        raise ValueError(
            f"transfer: no parameter of the source, a {type(source).__name__}, has the name and shape of one of the "
            f"{type(model).__name__}; the first is {first[0]} ({first[1]})."
        )
    new = ours | {name: theirs[name].astype(ours[name].dtype) for name in copied}
    return Transfer(
        merge({name: new[name] for name in params}, {name: new[name] for name in fixed}),
        copied,
        dict(sorted(fresh.items())),
        tuple(sorted(set(theirs) - set(copied))),
    )


def _arrays(model: Any) -> Arrays:
    params, fixed, _ = partition(model)
    return params | fixed


def _is_below(owner: str, name: str) -> bool:
    return not owner or name.startswith(f"{owner}/")
