"""Curves of a training run."""

import math
import os
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dgmjax.plots.canvas import GRID, INK, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"train": "#7aa6d6", "validation": "#c8500a", "test": "#2e7d4f"}
_OTHER_COLOUR = "#7b4fa3"
_WARM_UP = 0.05  # the fraction of the steps whose values do not set the limits
_FENCE = 3.0  # interquartile ranges: Tukey's "far out"
_WIDTH, _HEIGHT = 7.0, 4.0  # inches, without the legend


class _Curve(NamedTuple):
    steps: np.ndarray
    values: np.ndarray
    bound: str | None


def metric_name(metric: str) -> str:
    """The name of a metric with its unit: for ``nats`` ``negative log-likelihood [nats]``."""
    names = {"nats": "negative log-likelihood [nats]", "bits_per_dim": "bits/dim"}
    return names.get(metric, metric.replace("_", " "))


def training_curves(
    history: Iterable[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    quantity: str = "nats",
    ylabel: str | None = None,
    title: str | None = None,
    best_step: int | None = None,
) -> pathlib.Path:
    """Write one curve a split, ``quantity`` against the step, with the legend below the axes.

    The vertical limits ignore the first 5 % of the steps and values more than 3 interquartile
    ranges outside a split's quartiles, so that a huge first loss or a spike does not flatten the
    rest; the legend counts the values left outside. Non-finite values break a curve.

    Args:
        history: Records such as ``{"step": 50, "split": "train", "nats": 95.2, "bound": "exact"}``.
            Those without ``quantity`` are skipped. ``bound`` is optional; it heads the legend, or
            stands beside each split where the splits differ.
        path: Where to write, ending in ``.png``; missing folders are made.
        quantity: The key to draw.
        ylabel: Name of the vertical axis; by default ``quantity`` in words, those of ``nats`` being
            "negative log-likelihood [nats]".
        title: A line above the axes.
        best_step: A step to mark with a vertical line and the value there, of the validation
            split if there is one, else of the first.

    Returns:
        ``path``.

    Raises:
        ValueError: If no record has ``quantity``, or the marked split has no value at
            ``best_step``.
        ImportError: If matplotlib is not installed.
    """
    curves = _curves(list(history), quantity)
    marked = "validation" if "validation" in curves else next(iter(curves))
    best = None if best_step is None else _value_at(curves[marked], best_step, marked)
    first = min(curve.steps[0] for curve in curves.values())
    last = max(curve.steps[-1] for curve in curves.values())
    low, high = _limits(list(curves.values()), first + _WARM_UP * (last - first), best)
    bounds = {curve.bound for curve in curves.values()}

    figure = new_figure(_WIDTH, _HEIGHT)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    axes = figure.subplots()
    for split, curve in curves.items():
        outside = int(np.sum((curve.values < low) | (curve.values > high)))
        notes = [curve.bound] if curve.bound and len(bounds) > 1 else []
        notes += [f"{outside:,} off scale"] if outside else []
        axes.plot(
            curve.steps,
            curve.values,
            color=_COLOURS.get(split, _OTHER_COLOUR),
            label=f"{split} ({', '.join(notes)})" if notes else split,
            linewidth=1.1 if split == "train" else 1.9,
            marker="o" if len(curve.steps) <= 40 else None,
            markersize=3.5,
        )
    if best_step is not None and best is not None:
        axes.axvline(best_step, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        label = f"best {marked}: {best:.5g} at step {best_step:,}"
        axes.plot([best_step], [best], "o", markersize=7, markerfacecolor="none",
                  markeredgecolor=INK, linestyle="none", label=label)  # fmt: skip
    name = metric_name(quantity) if ylabel is None else ylabel
    shared = next(iter(bounds)) if len(bounds) == 1 else None
    axes.set_ylabel(_wrap(name, 40))
    axes.set_ylim(low, high)
    # Explicit, because matplotlib would leave out steps whose values are all NaN.
    margin = 0.02 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    _dress(axes, title)
    _add_legend(figure, f"{name}: {shared}" if shared else None)
    return save_figure(figure, path)


def _curves(history: Sequence[Mapping[str, Any]], quantity: str) -> dict[str, _Curve]:
    """The curve of each split; train first, then validation, then the rest as they come."""
    records = [record for record in history if quantity in record]
    if not records:
        known = sorted({key for record in history for key in record} - {"step", "split", "bound"})
        raise ValueError(
            f"training_curves: no record has the quantity {quantity!r}; "
            f"the {len(history)} records have: {', '.join(known) or 'nothing to draw'}."
        )
    splits = dict.fromkeys(record["split"] for record in records)
    curves = {}
    for split in sorted(splits, key=lambda s: {"train": 0, "validation": 1}.get(s, 2)):
        mine = sorted((r for r in records if r["split"] == split), key=lambda r: r["step"])
        steps = np.array([record["step"] for record in mine])
        values = np.array([float(record[quantity]) for record in mine])
        bounds = dict.fromkeys(str(record["bound"]) for record in mine if record.get("bound"))
        curves[split] = _Curve(
            steps, np.where(np.isfinite(values), values, np.nan), "; ".join(bounds) or None
        )
    return curves


def _value_at(curve: _Curve, step: int, split: str) -> float:
    found = curve.values[curve.steps == step]
    if not found.size or math.isnan(found[-1]):
        raise ValueError(
            f"training_curves: best_step={step} has no finite value of the {split} split; "
            f"its {len(curve.steps)} records cover steps {curve.steps[0]} to {curve.steps[-1]}."
        )
    return float(found[-1])


def _limits(
    curves: Sequence[_Curve], warm_up_end: float, best: float | None
) -> tuple[float, float]:
    inliers = [] if best is None else [np.array([best])]
    for curve in curves:
        settled = curve.values[curve.steps >= warm_up_end]
        settled = settled[np.isfinite(settled)]
        if settled.size:
            lower, upper = np.quantile(settled, (0.25, 0.75))
            reach = _FENCE * (upper - lower)
            # The extremes inside the fences, not the fences: limits then hug what is drawn.
            inside = (settled >= lower - reach) & (settled <= upper + reach)
            inliers.append(settled[inside])
    if not inliers:
        return 0.0, 1.0
    drawn = np.concatenate(inliers)
    low, high = float(drawn.min()), float(drawn.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _dress(axes: "Axes", title: str | None) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_xlabel("step", color=INK)
    axes.yaxis.label.set_color(INK)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color=INK, labelcolor=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    if title is not None:
        axes.set_title(_wrap(title, 60), color=INK, size=12)


def _add_legend(figure: "Figure", heading: str | None) -> None:
    """A legend below the axes, where it hides no curve, in as many columns as fit."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(
            handles,
            [_wrap(label, 90) for label in labels],
            loc="outside lower center",
            ncols=columns,
            title=None if heading is None else _wrap(heading, 90),
            frameon=False,
            fontsize=9,
            title_fontsize=9,
            labelcolor=INK,
        )
        legend.get_title().set_color(INK)
        extent = legend.get_window_extent()
        if columns == 1 or extent.width < figure.bbox.width:
            break
        legend.remove()
    # The legend lengthens the picture, so that the axes keep their height.
    figure.set_figheight(_HEIGHT + extent.height / figure.dpi)


def _wrap(text: str, width: int) -> str:
    return "\n".join(
        textwrap.fill(line, width, break_on_hyphens=False) for line in text.splitlines()
    )
