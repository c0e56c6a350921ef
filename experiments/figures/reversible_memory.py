"""Memory of the gradient of a classifier against its depth: reversible blocks and those that store activations."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS, dress
from experiments.figures.registry import register
from experiments.run.results import write_json

BLOCKS = (8, 16, 32, 64)
_MEBI = 2**20


@register(quick={"blocks": (4, 8), "side": 8, "batch_size": 16, "filters": 8})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    blocks: tuple[int, ...] = BLOCKS,
    side: int = 32,
    batch_size: int = 128,
    filters: int = 32,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Networks of one stage on ``side x side`` images of 3 channels, in training, float32: a RevNet of so many blocks, the
    same network that stores its activations, and the ResNet with half the channels and twice the units, which has as
    many convolutions of the same size. The memory is what the compiler plans for temporaries of the compiled gradient
    of the mean cross-entropy (``memory_analysis().temp_size_in_bytes``), exact and without a run; parameters, gradients
    and images, which are arguments and results, are not in it.

    Args:
      out: the picture.
      seed: of the weights, on which memory does not depend.
      blocks: numbers of blocks, ascending.
      side: of the images.
      batch_size: images.
      filters: channels of the RevNet, even.
    """
    shape = (side, side, 3)

    def revnet(num: int, *, reversible: bool) -> dgm.RevNet:
        return dgm.RevNet(
            shape,
            10,
            filters=(filters,) * 2,
            units=(num,),
            reversible=reversible,
            rngs=nnx.Rngs(seed),
        )

    def resnet(num: int) -> dgm.PreActResNet:
        return dgm.PreActResNet(
            shape, 10, filters=(filters // 2,) * 2, units=(2 * num,), rngs=nnx.Rngs(seed)
        )

    makers: dict[str, Any] = {
        "RevNet, reversible": lambda num: revnet(num, reversible=True),
        "the same, activations stored": lambda num: revnet(num, reversible=False),
        "ResNet with as many convolutions": resnet,
    }
    curves = {
        name: [_measure(make(num), shape, batch_size) for num in blocks]
        for name, make in makers.items()
    }
    record = {
        "blocks": list(blocks),
        "image": list(shape),
        "batch_size": batch_size,
        "filters": filters,
        "backend": jax.default_backend(),
        "temporary_bytes": {
            n: [p["temporary_bytes"] for p in points] for n, points in curves.items()
        },
        "parameters": {n: [p["parameters"] for p in points] for n, points in curves.items()},
        "growth": {
            n: points[-1]["temporary_bytes"] / points[0]["temporary_bytes"]
            for n, points in curves.items()
        },
    }
    _picture(out, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _measure(model: Any, shape: tuple[int, ...], batch_size: int) -> dict[str, int]:
    params, fixed, merge = dgm.training.partition(model)

    def loss(params: Any, fixed: Any, batch: Any) -> tuple[jax.Array, Any]:
        value, _, new = dgm.objectives.cross_entropy(merge(params, fixed), batch, jax.random.key(0))
        return value, nnx.state(new, nnx.BatchStat)

    batch = {
        "x": jax.ShapeDtypeStruct((batch_size, *shape), jnp.float32),
        "context": jax.ShapeDtypeStruct((batch_size, 10), jnp.float32),
    }
    compiled = jax.jit(jax.grad(loss, has_aux=True)).lower(params, fixed, batch).compile()
    analysis: Any = compiled.memory_analysis()
    return {
        "temporary_bytes": int(analysis.temp_size_in_bytes),
        "parameters": sum(array.size for array in params.values()),
    }


def _short(mebibytes: float) -> str:
    return f"{mebibytes:,.0f}" if mebibytes >= 10 else f"{mebibytes:.2g}"


def _picture(out: pathlib.Path, record: dict[str, Any]) -> None:
    blocks = record["blocks"]
    figure = new_figure(7.6, 4.8)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    # The two networks that store are nearly equal: one is a broad line behind the other, its number below.
    styles = ((1.6, "-", 7), (5.0, "-", -30), (1.6, "--", 7))
    lines = zip(record["temporary_bytes"].items(), COLOURS, styles, strict=False)
    for (name, values), colour, (linewidth, dashes, above) in lines:
        mebibytes = [value / _MEBI for value in values]
        axes.plot(
            blocks,
            mebibytes,
            color=colour,
            linewidth=linewidth,
            alpha=0.45 if linewidth > 2 else 1.0,
            linestyle=dashes,
            marker="o",
            markersize=4,
            label=f"{name}: x {record['growth'][name]:.2f} from {blocks[0]} to {blocks[-1]} blocks",
        )
        axes.annotate(
            f"{_short(mebibytes[-1])} MiB",
            (blocks[-1], mebibytes[-1]),
            xytext=(-6, above),
            textcoords="offset points",
            ha="right",
            color=colour,
            size=9,
        )
    height, width, _ = record["image"]
    dress(
        axes,
        xlabel="blocks of the RevNet, each of four 3x3 convolutions",
        ylabel="temporary memory of the gradient [MiB]",
        title=f"batches of {record['batch_size']} images of {height}x{width}, {record['filters']} channels, float32; "
        f"planned by the compiler",
    )
    axes.set_xticks(blocks, [str(num) for num in blocks])
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, 5 * high)
    save_figure(figure, out)
