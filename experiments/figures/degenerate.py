"""A density of integers that were not dequantized: its likelihood has no upper bound, and training finds out."""

import pathlib
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS, dress
from experiments.figures.registry import register
from experiments.run.results import write_json

PROBABILITIES = np.array([0.30, 0.05, 0.15, 0.02, 0.20, 0.08, 0.05, 0.15])
_LEVELS = len(PROBABILITIES)
_COMPONENTS = 16
_NODES = 256  # midpoints of the quadrature over a bin


@register(quick={"rows": 500, "steps": 200})
def draw(
    out: pathlib.Path, *, seed: int = 0, rows: int = 2_000, steps: int = 2_000
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    One flow, a mixture of 16 normals over one dimension, is trained twice from the same start on the same integers: as
    they are, and with uniform dequantization. The first has ``-log p(y)``, the second its bound ``-E_u log p(y + u)``,
    by quadrature over the bins and therefore without noise, which no model brings below the entropy of the integers:
    ``-E_u log p(y + u) >= -log P(y)``, and ``-E_y log P(y) >= H(y)``.

    Args:
      out: the picture.
      seed: of the data, the batches and the noise.
      rows: of data.
      steps: of training, of each of the two.
    """
    rng = np.random.default_rng(seed)
    y = rng.choice(_LEVELS, size=(rows, 1), p=PROBABILITIES)
    share = np.bincount(y[:, 0], minlength=_LEVELS) / rows
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    weights = jnp.asarray(share, jnp.float32)
    levels = jnp.arange(_LEVELS, dtype=jnp.float32)[:, None]
    nodes = levels + (jnp.arange(_NODES, dtype=jnp.float32)[None] + 0.5) / _NODES

    @jax.jit
    def at_integers(flow: dgm.Flow) -> jax.Array:
        return -(weights * flow.log_prob(levels)).sum()

    @jax.jit
    def over_bins(flow: dgm.Flow) -> tuple[jax.Array, jax.Array]:
        log_p = flow.log_prob(nodes[..., None])
        mass = jax.nn.logsumexp(log_p, axis=-1) - np.log(_NODES)
        return -(weights * log_p.mean(-1)).sum(), -(weights * mass).sum()

    plain: dict[int, float] = {0: float(at_integers(_mixture()))}
    dequantized: dict[int, tuple[float, ...]] = {0: tuple(map(float, over_bins(_mixture())))}

    def record_plain(step: int, model: dgm.Flow) -> None:
        plain[step] = float(at_integers(model))

    def record_dequantized(step: int, model: dgm.Dequantized) -> None:
        dequantized[step] = tuple(map(float, over_bins(model.density)))

    options: dict[str, Any] = {
        "seed": jax.random.key(seed),
        "steps": steps,
        "execution": dgm.Execution(steps_per_call=max(1, steps // 50)),
        "eval_every": max(1, steps // 50),
        # No rate of Adam's lets a scale fall far below the rate itself: one that decays for ever shows a fall for ever.
        "optimizer": optax.adam(lambda step: 0.03 / (1 + step / 100), b2=0.9),
        "batch_size": rows,
        "ema_decay": 0.0,
        "init_rows": 0,  # no layer depends on data
    }
    as_floats = y.astype(np.float32)
    dgm.fit(
        _mixture(),
        as_floats,
        validation=as_floats[:1],
        watch=dgm.Watch(on_evaluation=record_plain, progress=False),
        **options,
    )
    dgm.fit(
        dgm.Dequantized(_mixture(), _LEVELS),
        y,
        validation=y[:1],
        watch=dgm.Watch(on_evaluation=record_dequantized, progress=False),
        **options,
    )
    bounds = [bound for bound, _ in dequantized.values()]
    record = {
        "rows": rows,
        "levels": _LEVELS,
        "seed": seed,
        "steps": list(plain),
        "entropy_nats": entropy,
        "nats_without_dequantization": list(plain.values()),
        "nats_with_uniform_dequantization": bounds,
        "bound": "one-sample bound (uniform dequantization), by quadrature",
        "nats_of_the_exact_mass": [mass for _, mass in dequantized.values()],
        "first_step_below_entropy": next((s for s, v in plain.items() if v < entropy), None),
    }
    _picture(out, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _mixture() -> dgm.Flow:
    layer = dgm.GaussianMixtureRosenblatt(
        np.ones(_COMPONENTS),
        np.linspace(0, _LEVELS, _COMPONENTS)[:, None],
        np.full((_COMPONENTS, 1), 0.25),
    )
    uniform = distrax.Uniform(jnp.zeros((), jnp.float32), jnp.ones((), jnp.float32))
    return dgm.Flow(layer, dgm.distributions.IID(uniform, (1,)))


def _picture(out: pathlib.Path, record: dict[str, Any]) -> None:
    entropy, steps = record["entropy_nats"], record["steps"]
    curves = {
        "no dequantization, $-\\log p(y)$": record["nats_without_dequantization"],
        "uniform dequantization, $-$bound": record["nats_with_uniform_dequantization"],
        "uniform dequantization, exact $-\\log P(y)$": record["nats_of_the_exact_mass"],
    }
    figure = new_figure(9.6, 4.4)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    panels = figure.subplots(1, 2)
    titles = (
        "all of it",
        f"close to the entropy (no dequantization ends at {curves[next(iter(curves))][-1]:.2f})",
    )
    for axes, title in zip(panels, titles, strict=True):
        for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
            style = "--" if "exact" in name else "-"
            axes.plot(steps, values, style, color=colour, linewidth=1.7, label=name)
        axes.axhline(entropy, color=INK, linewidth=1.2, linestyle=":", label="entropy $H(y)$")
        dress(axes, xlabel="optimizer steps", ylabel=None, title=title)
    panels[0].set_ylabel("negative log-likelihood [nats per integer]", color=INK)
    panels[1].set_ylim(entropy - 0.05, entropy + 0.2)
    figure.suptitle(
        f"{record['rows']:,} integers in 0 .. {record['levels'] - 1}, $H(y)$ = {entropy:.4f} nats; the same flow, a "
        f"mixture of {_COMPONENTS} normals",
        size=11,
        color=INK,
    )
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    save_figure(figure, out)
