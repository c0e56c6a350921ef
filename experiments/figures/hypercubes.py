"""Binary data over the plane: uniform noise asks the density for cubes, variational noise for something smooth."""

import pathlib
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures.registry import register
from experiments.run.results import write_json

PROBABILITIES = np.array([0.10, 0.40, 0.35, 0.15])  # of (0, 0), (0, 1), (1, 0), (1, 1)
CUBES = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
_RESOLUTION = 200  # midpoints along each side of a cube


@register(quick={"rows": 500, "steps": 200, "draws": 500})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    rows: int = 4_000,
    steps: int = 2_000,
    draws: int = 4_000,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    Two equal flows over the square of four unit cubes are trained on pairs of bits, one with uniform noise, one with a
    conditional flow as noise. For each: the bound, a mean over draws of the noise, and the negative log of the exact
    masses ``P(y) = int p(y + u) du`` by quadrature over the cubes, which the bound lies above.

    Args:
      out: the picture.
      seed: of the data, the weights, the batches and the noise.
      rows: of data.
      steps: of training, of each of the two.
      draws: of the noise for each cube, for the bound.
    """
    rng = np.random.default_rng(seed)
    y = CUBES[rng.choice(4, size=rows, p=PROBABILITIES)]
    share = np.array([(y == cube).all(-1).mean() for cube in CUBES])
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    noises = {
        "uniform": dgm.UniformDequantization((2,)),
        "variational": dgm.VariationalDequantization(_noise(seed), 2),
    }
    results, grids = {}, {}
    for name, noise in noises.items():
        model = dgm.fit(
            dgm.Dequantized(_density(seed), 2, noise),
            y,
            seed=jax.random.key(seed),
            steps=steps,
            execution=dgm.Execution(steps_per_call=max(1, steps // 20)),
            eval_every=max(1, steps // 20),
            learning_rate=3e-3,
            init_rows=0,  # no layer depends on data
            watch=dgm.Watch(progress=False),
        ).model
        density: Any = model.density
        grids[name] = _on_cubes(density)
        log_mass = np.log(grids[name].mean((1, 2)))
        cubes = jnp.repeat(jnp.asarray(CUBES), draws, axis=0)
        bounds = model.log_prob(cubes, seed=jax.random.key(seed + 1))
        bound = np.asarray(bounds, np.float64).reshape(4, draws)
        deviations = share * bound.std(1) / np.sqrt(draws)
        results[name] = {
            "nats": float(-(share * bound.mean(1)).sum()),
            "standard_error_nats": float(np.sqrt((deviations**2).sum())),
            "bound": str(model.bound()),
            "exact_nats": float(-(share * log_mass).sum()),
            "mass_of_cubes": np.exp(log_mass).tolist(),
            "bound_of_cubes": bound.mean(1).tolist(),
            "total_mass": float(np.exp(log_mass).sum()),
            "largest_density": float(grids[name].max()),
        }
    record = {
        "rows": rows,
        "steps": steps,
        "seed": seed,
        "draws": draws,
        "cubes": CUBES.tolist(),
        "share_of_data": share.tolist(),
        "entropy_nats": entropy,
        **results,
    }
    _picture(out, grids, record)
    write_json(out.with_suffix(".json"), record)
    return record


def _density(seed: int) -> dgm.Flow:
    return dgm.RealNVP(
        (2,), depth=8, width=32, preprocess=dgm.Logit((2,), 2.0, alpha=1e-3), rngs=nnx.Rngs(seed)
    )


def _noise(seed: int) -> dgm.Flow:
    """Starts as uniform noise: a sigmoid of logistic noise, whatever ``y``."""
    base = dgm.distributions.IID(
        distrax.Logistic(jnp.zeros((), jnp.float32), jnp.ones((), jnp.float32)), (2,)
    )
    return dgm.RealNVP(
        (2,),
        depth=4,
        width=32,
        context_shape=(2,),
        preprocess=dgm.Logit((2,), 1.0, alpha=0.0),
        base=base,
        rngs=nnx.Rngs(seed + 1),
    )


def _on_cubes(flow: dgm.Flow) -> np.ndarray:
    """``p`` at the midpoints of every cube, ``[4, first axis, second axis]``, float64."""
    inside = (np.arange(_RESOLUTION) + 0.5) / _RESOLUTION
    first, second = np.meshgrid(inside, inside, indexing="ij")
    points = CUBES[:, None, None] + np.stack([first, second], -1)
    log_p = jax.jit(flow.log_prob)(jnp.asarray(points, jnp.float32))
    return np.exp(np.asarray(log_p, np.float64))


def _picture(out: pathlib.Path, grids: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    # One colour scale for both panels; the few pixels above it are told by the arrow of the bar.
    top = float(np.quantile(np.concatenate([grid.ravel() for grid in grids.values()]), 0.995))
    figure = new_figure(10.2, 5.4)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (name, grid) in zip(panels, grids.items(), strict=True):
        whole = np.block([[grid[0], grid[1]], [grid[2], grid[3]]])
        image = axes.imshow(
            whole.T, extent=(0, 2, 0, 2), origin="lower", cmap="magma", vmin=0, vmax=top
        )
        axes.axvline(1, color="white", linewidth=0.8, linestyle=":")
        axes.axhline(1, color="white", linewidth=0.8, linestyle=":")
        numbers = record[name]
        axes.set_title(
            f"{name} dequantization\n$-$bound {numbers['nats']:.4f} $\\pm$ {numbers['standard_error_nats']:.4f} "
            f"$\\geq$ exact $-\\log P(y)$ {numbers['exact_nats']:.4f} nats",
            size=10,
            color=INK,
        )
        axes.set_xlabel("$x_1 = y_1 + u_1$", color=INK)
        axes.set_xticks([0, 1, 2])
        axes.set_yticks([0, 1, 2])
        axes.tick_params(labelsize=9, color=INK, labelcolor=INK)
        for cube, mass, share in zip(
            CUBES, numbers["mass_of_cubes"], record["share_of_data"], strict=True
        ):
            axes.annotate(
                f"P = {mass:.3f}  (data {share:.3f})",
                cube + (0.5, 0.06),
                ha="center",
                size=8,
                color="white",
                bbox={"facecolor": "#00000099", "linewidth": 0, "pad": 2},
            )
    panels[0].set_ylabel("$x_2 = y_2 + u_2$", color=INK)
    bar = figure.colorbar(image, ax=panels, extend="max", shrink=0.85, pad=0.02)
    bar.set_label("density $p(x)$ per unit area", size=9, color=INK)
    bar.ax.tick_params(labelsize=8, color=INK, labelcolor=INK)
    bar.outline.set_visible(False)
    figure.suptitle(
        f"{record['rows']:,} pairs of bits, negative log-likelihoods per pair ($\\pm$ one standard error); entropy of "
        f"the data {record['entropy_nats']:.4f} nats",
        size=11,
        color=INK,
    )
    save_figure(figure, out)
