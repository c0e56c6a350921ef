"""What an entry of the checklist is: a function that runs something and returns checks of numbers."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dgmjax as dgm
from experiments.commands.train import train
from experiments.configs import load_config
from experiments.figures.registry import figures
from experiments.settings.config import Config


class Check(NamedTuple):
    """One number and what it has to be.

    Attributes:
      what: the quantity.
      value: what was found; None if it is not finite.
      target: what was asked, in words.
      passed: whether it is so.
    """

    what: str
    value: float | None
    target: str
    passed: bool


def close(what: str, value: float, expected: float, tolerance: float) -> Check:
    """``|value - expected| <= tolerance``."""
    passed = abs(float(value) - expected) <= tolerance
    return Check(what, float(value), f"{expected:.6g} +- {tolerance:.1g}", passed)


def at_most(what: str, value: float, limit: float) -> Check:
    """``value <= limit``."""
    return Check(what, float(value), f"<= {limit:.6g}", float(value) <= limit)


def at_least(what: str, value: float, limit: float) -> Check:
    """``value >= limit``."""
    return Check(what, float(value), f">= {limit:.6g}", float(value) >= limit)


def falling(what: str, values: Sequence[float]) -> Check:
    """Every value is below the one before; the number shown is the smallest step down."""
    steps = [a - b for a, b in zip(values, values[1:], strict=False)]
    return Check(what, float(min(steps)), "falls at every step", min(steps) > 0)


class Context:
    """Where an entry works, and how much it may do.

    Args:
      folder: of all entries; runs are in ``runs``, pictures beside the records.
      quick: small sizes, digits and toys only.
      seed: of everything.
    """

    def __init__(self, folder: pathlib.Path, *, quick: bool, seed: int = 0):
        self.folder, self.quick, self.seed = folder, quick, seed
        self.pictures: list[str] = []
        self.tables: list[str] = []

    def size(self, quick: int, full: int) -> int:
        """The first number with ``--quick``, else the second."""
        return quick if self.quick else full

    def picture(self, name: str) -> pathlib.Path:
        """Where to write a picture that belongs to the entry."""
        path = self.folder / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.pictures.append(str(path.relative_to(self.folder)))
        return path

    def table(self, name: str, text: str) -> None:
        """Write a table, Markdown, that belongs to the entry; the page shows it."""
        path = self.folder / "tables" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.tables.append(str(path.relative_to(self.folder)))

    def figure(self, name: str, **options: Any) -> dict[str, Any]:
        """Draw a figure of ``experiments.figures``; returns the numbers it shows."""
        one = figures()[name]
        sizes = one.sizes(quick=self.quick)
        return one.draw(self.picture(name), seed=self.seed, **(sizes | options))

    def trained(
        self, name: str, *, steps: int | None = None, label: str = "", **model: Any
    ) -> tuple[Any, dict[str, Any], Config]:
        """The model, the ``result.json`` and the config of a run, which is made unless it is there.

        Args:
          name: config.
          steps: optimizer steps with ``--quick``; all of the config otherwise.
          label: tells runs of one config apart.
          model: settings of the model to change.
        """
        config = load_config(name)
        training = config.training
        if self.quick and steps is not None:
            every = max(1, steps // 4)
            training = dataclasses.replace(training, steps=4 * every, eval_every=every)
        config = dataclasses.replace(
            config,
            name=f"{name}{label and '_' + label}",
            seed=self.seed,
            training=training,
            model=dataclasses.replace(config.model, **model),
        )
        folder = self.run_folder(config)
        result = train(config, workdir=folder)
        return dgm.load(folder / "model"), result, config

    def run_folder(self, config: Config) -> pathlib.Path:
        """Where the run of a config that `trained` returned lies."""
        return self.folder / "runs" / f"{config.name}{'_quick' if self.quick else ''}"


class Entry(NamedTuple):
    """An experiment, a figure or a table of the lectures.

    Attributes:
      ids: rows of the checklist: lecture and number.
      title: what it shows.
      run: does it.
    """

    ids: tuple[str, ...]
    title: str
    run: Callable[[Context], list[Check]]

    @property
    def name(self) -> str:
        """The first row."""
        return self.ids[0]


ENTRIES: dict[str, Entry] = {}


def entry(*ids: str, title: str) -> Callable[[Callable[[Context], list[Check]]], Any]:
    """Register a function as the entry of these rows."""

    def register(run: Callable[[Context], list[Check]]) -> Callable[[Context], list[Check]]:
        for known in ENTRIES.values():
            if set(known.ids) & set(ids):
                raise ValueError(f"two entries have the row {sorted(set(known.ids) & set(ids))}.")
        ENTRIES[ids[0]] = Entry(ids, title, run)
        return run

    return register


def finite(checks: list[Check]) -> list[Check]:
    """The same checks; numbers that are not finite are None and do not pass."""
    return [
        check
        if check.value is not None and math.isfinite(check.value)
        else check._replace(value=None, passed=False)
        for check in checks
    ]
