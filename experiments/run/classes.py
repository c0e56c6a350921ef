"""Classes of a data set by name, and the conditions of what a conditional run draws."""

from typing import NamedTuple

import numpy as np

import dgmjax as dgm
from experiments.settings.config import Config


class Conditions(NamedTuple):
    """The conditions of samples, one a sample.

    Attributes:
      context: ``[num, k]``, as the model takes it.
      labels: the class of every sample, ``[num]``, or its conditions, ``[num, k]``.
      classes: the classes that the samples have in turn; none of data whose labels are no classes.
    """

    context: np.ndarray
    labels: np.ndarray
    classes: tuple[int, ...]


def has_classes(dataset: dgm.data.Dataset) -> bool:
    """Whether labels are classes, rather than conditions or attributes."""
    return bool(dataset.labels) and (dataset.labels or {})["train"].ndim == 1


def class_names(dataset: dgm.data.Dataset) -> tuple[str, ...]:
    """Names of the classes, or of the attributes; their numbers where they have none."""
    return dataset.label_names or tuple(map(str, range(dataset.context_shape[0])))


def class_index(name: str, names: tuple[str, ...], option: str) -> int:
    """The number of a class or attribute that is given by name or number.

    Raises:
      ValueError: there is none.
    """
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise ValueError(
        f"{option}: unknown class or attribute {name!r}; expected one of {', '.join(names)}, or a number from 0 to "
        f"{len(names) - 1}."
    )


def chosen_classes(
    config: Config, dataset: dgm.data.Dataset, given: tuple[str, ...], option: str
) -> tuple[int, ...]:
    """The classes that an option of a command on a run names.

    Raises:
      ValueError: an unknown class, or a run that is not conditional on classes.
    """
    if not given:
        return ()
    if not config.conditional:
        raise ValueError(
            f"{option} is for runs that are conditional on classes, and {config.name} was trained without "
            f"--conditional; leave {option} out."
        )
    if not has_classes(dataset):
        raise ValueError(
            f"{option}: the labels of {config.data} are conditions of shape {dataset.context_shape}, no classes; leave "
            f"{option} out."
        )
    return tuple(class_index(name, class_names(dataset), option) for name in given)


def conditions_to_draw(
    dataset: dgm.data.Dataset, num: int, classes: tuple[int, ...] = ()
) -> Conditions:
    """Conditions of ``num`` samples: the classes in turn, all if none is named, or those of the first test events."""
    if has_classes(dataset):
        (size,) = dataset.context_shape
        classes = classes or tuple(range(size))
        labels = np.resize(np.asarray(classes, np.int32), num)
        return Conditions(np.eye(size, dtype=np.float32)[labels], labels, classes[:num])
    rows = np.arange(num) % len(dataset.test)
    return Conditions(dataset.contexts("test")[rows], (dataset.labels or {})["test"][rows], ())
