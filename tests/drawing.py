"""Figures drawn by their command, at their small sizes."""

import json
import pathlib
from typing import Any

import pytest

from experiments.figures import __main__ as figures

matplotlib = pytest.importorskip("matplotlib")


def drawn(folder: pathlib.Path, name: str, *options: str) -> dict[str, Any]:
    """The numbers of a figure; there is a picture, it is not blank, and nothing else is written."""
    figures.main([name, "--quick", "--out", str(folder), *options])
    picture = matplotlib.image.imread(folder / f"{name}.png")
    assert picture.std() > 0
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.json", f"{name}.png"]
    return json.loads((folder / f"{name}.json").read_text())
