"""What a finished run leaves behind, read back: its config, its model, its data."""

import dataclasses
import pathlib
from typing import Any

import dgmjax as dgm
from experiments.run.data import load_data
from experiments.settings.config import Config, config_from_dict


def load_run(run: pathlib.Path) -> tuple[Config, Any, dgm.data.Dataset]:
    """Config, trained model and data of a finished run.

    Raises:
      FileNotFoundError: no run, or not finished.
    """
    config = config_from_dict(dgm.training.read_settings(run))
    if not (run / "model").exists():
        raise FileNotFoundError(
            f"{run} has no trained model yet; finish it with: python -m experiments.train {config.name} --workdir "
            f"{run}"
        )
    return config, dgm.load(run / "model"), load_data(config)


def load_other_data(
    config: Config, dataset: dgm.data.Dataset, name: str, *, labels: bool = True
) -> dgm.data.Dataset:
    """Another data set as the model of a run takes it.

    Args:
      config: of the run.
      dataset: its data.
      name: a name or a file, as in configs.
      labels: whether a conditional model needs the labels of the data.

    Raises:
      TypeError: floats for a model of integers.
      ValueError: unknown data, or another shape of events, number of levels or shape of conditions.
    """
    other = load_data(dataclasses.replace(config, data=name, num_levels=dataset.num_levels))
    for what, expected, got in (
        ("events of shape", dataset.event_shape, other.event_shape),
        ("a number of levels of", dataset.num_levels, other.num_levels),
        ("images of shape", dataset.image_shape, other.image_shape),
    ):
        if expected != got and not (what.startswith("images") and None in (expected, got)):
            raise ValueError(
                f"the model of {config.name} has {what} {expected}, as in {config.data}, but {name} has {got}; choose "
                f"data of the same kind, or train on {name}."
            )
    if labels and config.conditional and other.context_shape != dataset.context_shape:
        raise ValueError(
            f"the model of {config.name} has conditions of shape {dataset.context_shape}, but {name} has "
            f"{other.context_shape}; choose data with the same labels."
        )
    return other
