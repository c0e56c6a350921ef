"""How far bounds lie below a known mass, and how importance samples close the gap."""

import functools
import math
import pathlib
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.plots.canvas import INK, new_figure, save_figure
from experiments.figures._axes import COLOURS, dress
from experiments.figures.registry import register
from experiments.run.results import write_json

LEVELS, LOC, SCALE = 6, 2.8, 0.8
NUM_SAMPLES = (1, 16, 256, 4_096)


@register(quick={"num_samples": (1, 256), "draws": 100, "steps": 200})
def draw(
    out: pathlib.Path,
    *,
    seed: int = 0,
    num_samples: tuple[int, ...] = NUM_SAMPLES,
    batch_size: int = 64,
    draws: int = 64,
    steps: int = 500,
) -> dict[str, Any]:
    """Write the picture ``out`` (.png) and the numbers beside it (.json); returns the numbers.

    The density is ``N(2.8, 0.8^2)`` over 6 levels, so that ``P(y)`` is a difference of two values of its distribution
    function. For each dequantization and ``K``, the gap is ``sum_y P(y) (log P(y) - E bound_K(y))``. With the weights
    ``r = exp(bound_K) / P(y)``, of which ``E r = 1``, one draw has the gap ``-log r``; since ``r - 1`` has mean zero,
    ``r - 1 - log r`` has the same mean and, for large ``K``, a far smaller spread, and is what the picture shows. The
    plain estimates are among the numbers: that both agree checks ``E r = 1``.

    Args:
      out: the picture.
      seed: of the weights, the training and the noise.
      num_samples: the ``K``, ascending.
      batch_size: importance samples at a time.
      draws: of the bound, for each level at the largest ``K``; at smaller ones ``sqrt(largest / K)`` times as many.
      steps: of training, of the dequantizations that are trained.
    """
    mass = exact_mass()
    untrained = dgm.TruncatedNormalDequantization((1,))
    noises = {
        "uniform": dgm.UniformDequantization((1,)),
        "truncated normal, untrained": untrained,
        "truncated normal, trained": _trained(untrained, mass, seed, steps),
        "logit-normal, trained": _trained(dgm.LogitNormalDequantization((1,)), mass, seed, steps),
        "variational, trained": _trained(
            dgm.VariationalDequantization(_noise(seed), LEVELS), mass, seed, steps
        ),
    }
    repeats = [draws * math.isqrt(num_samples[-1] // count) for count in num_samples]
    curves = {
        name: [
            _gap(noise, mass, count, min(batch_size, count), number, seed)
            for count, number in zip(num_samples, repeats, strict=True)
        ]
        for name, noise in noises.items()
    }
    record = {
        "density": f"normal, loc {LOC}, scale {SCALE}, {LEVELS} levels",
        "mass": mass.tolist(),
        "num_samples": list(num_samples),
        "samples_per_pass": batch_size,
        "draws_of_each_level": repeats,
        "steps": steps,
        "seed": seed,
        "gaps": {
            name: {key: [point[key] for point in points] for key in points[0]}
            for name, points in curves.items()
        },
        "largest_gap_of_one_draw_with_the_posterior": _posterior_gap(mass, repeats[0], seed),
        "chunking": _chunking(
            noises["uniform"],
            num_samples[-1],
            (min(batch_size, num_samples[-1]), num_samples[-1]),
            draws,
            seed,
        ),
    }
    _picture(out, record)
    write_json(out.with_suffix(".json"), record)
    return record


def exact_mass() -> np.ndarray:
    """``P(y) = Phi((y + 1 - loc) / scale) - Phi((y - loc) / scale)``, ``[levels]``, float64."""
    ends = [(y - LOC) / SCALE / math.sqrt(2) for y in range(LEVELS + 1)]
    return np.array([(math.erf(b) - math.erf(a)) / 2 for a, b in zip(ends, ends[1:], strict=False)])


def _model(noise: dgm.distributions.Dequantization) -> dgm.Dequantized:
    base = dgm.distributions.IID(distrax.Normal(jnp.float32(LOC), jnp.float32(SCALE)), (1,))
    return dgm.Dequantized(dgm.Flow(dgm.Permute.reverse((1,)), base), LEVELS, noise)


def _noise(seed: int) -> dgm.Flow:
    """A conditional flow over ``(0, 1)`` that starts as uniform noise."""
    base = dgm.distributions.IID(distrax.Logistic(jnp.float32(0), jnp.float32(1)), (1,))
    return dgm.IAF(
        (1,),
        depth=1,
        width=16,
        context_shape=(1,),
        preprocess=dgm.Logit((1,), 1.0, alpha=0.0),
        base=base,
        rngs=nnx.Rngs(seed),
    )


def _trained(
    noise: dgm.distributions.Dequantization, mass: np.ndarray, seed: int, steps: int
) -> dgm.distributions.Dequantization:
    """The density has nothing to learn; the noise is trained on integers drawn from it."""
    y = np.random.default_rng(seed).choice(LEVELS, size=(10_000, 1), p=mass / mass.sum())
    return dgm.fit(
        _model(noise),
        y,
        seed=jax.random.key(seed),
        steps=steps,
        execution=dgm.Execution(steps_per_call=max(1, steps // 10)),
        eval_every=max(1, steps // 10),
        learning_rate=0.02,
        init_rows=0,  # no layer depends on data
        watch=dgm.Watch(progress=False),
    ).model.dequantization


@functools.partial(jax.jit, static_argnames=("num_samples", "batch_size"))
def _bound(
    noise: dgm.distributions.Dequantization,
    y: jax.Array,
    key: jax.Array,
    *,
    num_samples: int = 1,
    batch_size: int = 1,
) -> jax.Array:
    return _model(noise).log_prob(y, seed=key, num_samples=num_samples, batch_size=batch_size)


def _rows(draws: int) -> jax.Array:
    """Every level ``draws`` times, one after the other."""
    return jnp.repeat(jnp.arange(LEVELS, dtype=jnp.int32), draws)[:, None]


def _gap(
    noise: dgm.distributions.Dequantization,
    mass: np.ndarray,
    num_samples: int,
    batch_size: int,
    draws: int,
    seed: int,
) -> dict[str, float]:
    bound = _bound(
        noise,
        _rows(draws),
        jax.random.fold_in(jax.random.key(seed), num_samples),
        num_samples=num_samples,
        batch_size=batch_size,
    )
    log_r = np.asarray(bound, np.float64).reshape(LEVELS, draws) - np.log(mass)[:, None]
    estimates = {"gap": np.expm1(log_r) - log_r, "plain_gap": -log_r}
    numbers = {}
    for name, values in estimates.items():
        deviations = mass * values.std(1, ddof=1) / math.sqrt(draws)
        numbers[name] = float((mass * values.mean(1)).sum())
        numbers[f"{name}_standard_error"] = float(np.sqrt((deviations**2).sum()))
    return numbers


def _posterior_gap(mass: np.ndarray, draws: int, seed: int) -> float:
    """``q(u | y) = p(y + u) / P(y)``, a truncated normal: every single draw has the gap 0, up to rounding.

    Its location differs from level to level, so that each level has a dequantization of its own.
    """
    noise = dgm.TruncatedNormalDequantization((1,), log_scale=math.log(SCALE))
    gaps = []
    for level in range(LEVELS):
        noise.loc[...] = jnp.full((1,), LOC - level, jnp.float32)
        y = jnp.full((draws, 1), level, jnp.int32)
        bound = _bound(noise, y, jax.random.key(seed))
        gaps.append(np.abs(np.log(mass[level]) - np.asarray(bound, np.float64)).max())
    return float(max(gaps))


def _chunking(
    noise: dgm.distributions.Dequantization,
    num_samples: int,
    passes: tuple[int, int],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """The same bounds with two numbers of samples a pass: how they differ, and the memory each asks for."""
    arguments = noise, _rows(draws), jax.random.key(seed)
    programs = {
        count: _bound.lower(*arguments, num_samples=num_samples, batch_size=count).compile()
        for count in passes
    }
    one, other = (program(*arguments) for program in programs.values())
    return {
        "num_samples": num_samples,
        "rows": LEVELS * draws,
        "megabytes_by_samples_per_pass": {
            str(count): _temporary_bytes(program) / 1e6 for count, program in programs.items()
        },
        "largest_difference_of_bounds": float(jnp.abs(one - other).max()),
    }


def _temporary_bytes(program: Any) -> int:
    return program.memory_analysis().temp_size_in_bytes


def _picture(out: pathlib.Path, record: dict[str, Any]) -> None:
    counts = np.array(record["num_samples"])
    figure = new_figure(8.4, 5.2)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for (name, numbers), colour in zip(record["gaps"].items(), COLOURS, strict=True):
        axes.errorbar(
            counts,
            numbers["gap"],
            # Logarithmic axes have no room below 0.
            yerr=np.minimum(numbers["gap_standard_error"], 0.95 * np.array(numbers["gap"])),
            color=colour,
            linewidth=1.6,
            marker="o",
            markersize=4,
            capsize=3,
            label=f"{name}: {numbers['gap'][0]:.5f} at $K$ = {counts[0]}",
        )
    dress(
        axes,
        xlabel=f"importance samples $K$, computed {record['samples_per_pass']} at a time; bars: one standard error",
        ylabel=r"gap $\log P(y) - E\,$bound$_K$ [nats], mean over $y \sim P$",
        title=f"{record['density']}; $P(y)$ exact by the distribution function\n"
        f"noise $q(u|y) = p(u|y)$: gap 0 at K = 1 "
        f"(one draw is off by {record['largest_gap_of_one_draw_with_the_posterior']:.0e} at most, rounding)",
    )
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    save_figure(figure, out)
