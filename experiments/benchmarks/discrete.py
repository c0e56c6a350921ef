"""Discrete data: ``python -m experiments.benchmarks.discrete [--quick] [--only TASK ...] [--out FILE]``.

The inverse of mixture couplings beside bisection as in the code of Flow++, samples of a PixelCNN++ from cached
activations beside those that run the network again for every pixel, and the training step of Flow++ in float32 and with
networks in bfloat16. What is compared has turns in alternation and reports medians.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.benchmarks._command import run
from experiments.benchmarks._image_step import training_system
from experiments.benchmarks._timing import System, race
from experiments.benchmarks._training_work import Part


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is measured.

    Attributes:
      elements: whose mixture is inverted.
      components: logistics of a mixture.
      side: of the sampled and trained images, one channel.
      batch: images a training step.
      drawn: images that are sampled.
      resolutions: of the PixelCNN++.
      width: channels of the networks.
      depth: blocks.
      couplings: of the Flow++.
      rounds: rounds of a race.
      slow_rounds: rounds of the race with samples that run the network again.
    """

    elements: int = 16 * 32 * 32 * 3
    components: int = 32
    side: int = 28
    batch: int = 16
    drawn: int = 4
    resolutions: int = 3
    width: int = 32
    depth: int = 2
    couplings: tuple[int, int, int] = (4, 2, 3)
    rounds: int = 9
    slow_rounds: int = 2


QUICK = Work(
    elements=64, components=3, side=8, batch=2, drawn=2, resolutions=2, width=8, depth=1, couplings=(2, 1, 1),
    rounds=2, slow_rounds=1,
)  # fmt: skip


def inverse(work: Work) -> Part:
    """Quantiles of logistic mixtures: the root finder of couplings, and bisection until float32 has no more digits."""
    random = np.random.RandomState(0)
    shape = (work.elements, work.components)
    mixture = tuple(
        jnp.asarray(value, jnp.float32)
        for value in (random.randn(*shape), random.randn(*shape), random.uniform(-3, 0, shape))
    )
    x = jnp.asarray(random.randn(work.elements), jnp.float32)
    y, _ = dgm.densities.logistic_mixture_logit_cdf(x, *mixture)

    @jax.jit
    def newton(y: jax.Array, mixture: tuple[jax.Array, ...]) -> jax.Array:
        return dgm.densities.logistic_mixture_logit_icdf(y, *mixture)

    @jax.jit
    def bisection(y: jax.Array, mixture: tuple[jax.Array, ...]) -> jax.Array:
        # As in the authors' code: from the means -+ 200 sums of scales, until nothing moves, at most 200 halvings.
        _, means, log_scales = mixture
        reach = 200.0 * jnp.exp(log_scales).sum(-1)
        ends = means.min(-1) - reach, means.max(-1) + reach

        def halve(state: tuple) -> tuple:
            low, high, moved, count = state
            middle = 0.5 * (low + high)
            above = dgm.densities.logistic_mixture_logit_cdf(middle, *mixture)[0] > y
            new = jnp.where(above, low, middle), jnp.where(above, middle, high)
            moved = jnp.maximum(jnp.abs(new[0] - low), jnp.abs(new[1] - high)).max()
            return *new, moved, count + 1

        low, high, _, _ = jax.lax.while_loop(
            lambda state: (state[2] > 1e-6) & (state[3] < 200), halve, (*ends, jnp.inf, 0)
        )
        return 0.5 * (low + high)

    systems = []
    for name, invert in (("safeguarded Newton", newton), ("bisection", bisection)):
        error = float(jnp.abs(invert(y, mixture) - x).max())
        call = functools.partial(_finished, invert, y, mixture)
        systems.append(System(name, call, note=f"largest error {error:.2g}"))
    task = f"{work.elements} quantiles of {work.components} logistics"
    return Part(race(task, systems, rounds=work.rounds, calls=1), {})


def samples(work: Work) -> Part:
    """The same images, from cached activations and by running the network again for every pixel."""
    model = dgm.PixelCNNpp(
        (work.side, work.side, 1),
        resolutions=work.resolutions,
        depth=work.depth,
        width=work.width,
        num_components=5,
        rngs=nnx.Rngs(0),
    )
    key = jax.random.key(0)

    def draw(*, cached: bool) -> Callable[[], jax.Array]:
        @jax.jit
        def sample(model: dgm.PixelCNNpp, key: jax.Array) -> jax.Array:
            return model.sample(seed=key, sample_shape=work.drawn, cached=cached)

        return functools.partial(_finished, sample, model, key)

    calls = {"cached activations": draw(cached=True), "the network again": draw(cached=False)}
    images = [np.asarray(call()) for call in calls.values()]
    # Rounding may move a value across the edge of a bin, and all that follows it in that image.
    share = float((images[0] == images[1]).all((1, 2, 3)).mean())
    params, _, _ = dgm.training.partition(model)
    systems = [
        System(
            name, call, sum(a.size for a in params.values()), f"{share:.0%} of the images are equal"
        )
        for name, call in calls.items()
    ]
    task = f"{work.drawn} images {work.side}x{work.side} of PixelCNN++"
    return Part(race(task, systems, rounds=work.slow_rounds, calls=1), {})


def step(work: Work) -> Part:
    """An Adam step of Flow++ with networks in float32 and in bfloat16."""
    shape = (work.side, work.side, 1)
    x = jax.random.normal(jax.random.key(0), (work.batch, *shape), jnp.float32)
    systems = [
        training_system(
            f"networks in {name}",
            dgm.FlowPP(
                shape,
                couplings=work.couplings,
                width=work.width,
                depth=work.depth,
                num_components=8,
                compute_dtype=dtype,
                rngs=nnx.Rngs(0),
            ),
            x,
        )
        for name, dtype in (("float32", None), ("bfloat16", "bfloat16"))
    ]
    task = f"training step of Flow++, {work.batch} images {work.side}x{work.side}"
    return Part(race(task, systems, rounds=work.rounds, calls=1), {})


def _finished(function: Callable[..., Any], *arguments: Any) -> Any:
    return jax.block_until_ready(function(*arguments))


TASKS: dict[str, Callable[[Work], Part]] = {
    "inverse": inverse,
    "samples": samples,
    "step": step,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Command line; returns what ``--out`` writes."""
    return run("discrete", TASKS, (Work(), QUICK), arguments)


if __name__ == "__main__":
    main()
