"""How often pixels take their values: images are discrete, with spikes at the ends."""

import pathlib
from typing import Any

import numpy as np

import dgmjax as dgm
from dgmjax.plots.pixel_histogram import pixel_histogram
from experiments.figures.registry import register
from experiments.run.results import write_json


@register(quick={"num": 100})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    data: str = "digits",
    num_levels: int | None = None,
    log: bool = False,
    num: int = 20_000,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Args:
      out: the picture.
      seed: of the choice of rows.
      data: a data set of integers, by name or path, see `dgmjax.data.load_dataset`.
      num_levels: of a file of integers, their number of levels.
      log: a logarithmic vertical axis.
      num: training rows, at most.

    Raises:
      ValueError: continuous data.
    """
    dataset = dgm.data.load_dataset(data, num_levels=num_levels)
    if dataset.num_levels is None:
        raise ValueError(
            f"{data} has no levels; expected integer data, of a file with --num-levels its number of levels."
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(dataset.train))[:num])
    x = np.asarray(dataset.train[rows])
    share = pixel_histogram(
        x,
        out,
        num_levels=dataset.num_levels,
        log=log,
        title=f"{dataset.name}: {x.size:,} values of {len(x):,} training events",
    )
    record = {
        "data": dataset.name,
        "rows": len(x),
        "values": int(x.size),
        "levels": dataset.num_levels,
        "seed": seed,
        "share": share.tolist(),
        "share_of_the_ends": [float(share[0]), float(share[-1])],
        "median_share": float(np.median(share)),
        "entropy_bits": float(-(share[share > 0] * np.log2(share[share > 0])).sum()),
    }
    write_json(out.with_suffix(".json"), record)
    return record
