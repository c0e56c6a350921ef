"""What a data set is: fixed splits of arrays."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Fixed splits of one data set.

    Attributes:
      name: what to call it in results.
      train: ``[n, *event]``; integers for discrete data.
      validation: for model selection.
      test: touched once, at the end.
      num_levels: values an element can take, or None for continuous data.
      image_shape: ``(height, width, channels)`` if events are images, flattened or not.
      labels: for each split, by its name, one label or condition an event, ``[n]`` or ``[n, k]``; rows agree with
        those of the split.
      label_names: names of the labels ``0, 1, ...`` of classes, or of the ``k`` conditions.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    num_levels: int | None = None
    image_shape: tuple[int, int, int] | None = None
    labels: Mapping[str, np.ndarray] | None = None
    label_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Labels belong to events."""
        for split, labels in (self.labels or {}).items():
            rows = len(getattr(self, split))
            if len(labels) != rows:
                raise ValueError(
                    f"Dataset {self.name!r}: expected one label for each of the {rows} events of {split}, "
                    f"got {len(labels)}."
                )

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one event."""
        return self.train.shape[1:]

    @property
    def context_shape(self) -> tuple[int]:
        """Shape of the context that `contexts` makes of labels.

        Raises:
          ValueError: there are no labels.
        """
        if not self.labels:
            raise ValueError(f"data set {self.name!r} has no labels to condition on.")
        train = self.labels["train"]
        if train.ndim > 1:
            return (train.shape[1],)
        for split, labels in self.labels.items():
            if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
                raise ValueError(
                    f"data set {self.name!r}: labels of {split} must be classes 0, 1, ..., got {labels.dtype} from "
                    f"{labels.min()}; hidden labels cannot be conditioned on."
                )
        largest = max(int(labels.max()) for labels in self.labels.values())
        return (max(len(self.label_names or ()), largest + 1),)

    def contexts(self, split: str) -> np.ndarray:
        """The labels of ``split`` as contexts for a model, float32: classes as one-hot vectors, conditions as they are.

        Raises:
          ValueError: there are no labels.
        """
        (size,) = self.context_shape
        labels = (self.labels or {})[split]
        if labels.ndim > 1:
            return labels.astype(np.float32)
        return np.eye(size, dtype=np.float32)[labels]

    def first(self, num: int) -> "Dataset":
        """The first ``num`` rows of each split; no copy.

        Raises:
          ValueError: no rows asked for.
        """
        if num < 1:
            raise ValueError(f"Dataset.first: expected num >= 1, got {num}.")
        labels = self.labels and {split: rows[:num] for split, rows in self.labels.items()}
        return dataclasses.replace(
            self,
            train=self.train[:num],
            validation=self.validation[:num],
            test=self.test[:num],
            labels=labels,
        )

    def as_images(self) -> "Dataset":
        """The same data with events ``(height, width, channels)``, for models of images; no copy.

        Raises:
          ValueError: events are no images.
        """
        if self.image_shape is None:
            raise ValueError(f"data set {self.name!r} holds no images.")
        train, validation, test = (
            part.reshape(len(part), *self.image_shape)
            for part in (self.train, self.validation, self.test)
        )
        return dataclasses.replace(self, train=train, validation=validation, test=test)

    def flattened(self) -> "Dataset":
        """The same data with events as vectors ``[n, prod(event_shape)]``, for models of vectors; no copy."""
        train, validation, test = (
            part.reshape(len(part), -1) for part in (self.train, self.validation, self.test)
        )
        return dataclasses.replace(self, train=train, validation=validation, test=test)
