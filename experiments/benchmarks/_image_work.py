"""The models, data and sizes of the benchmark of images, and the gradient it compiles."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.training import partition

SEED = 0


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is measured; the defaults are those of a full run.

    Attributes:
      side: of the images, which have three channels.
      levels: of every Glow but the large one.
      width: channels of the conditioners.
      batch: images a gradient, a step and a draw.
      depths: steps a level whose compiled gradients are compared, the shallow and the deep.
      compile_rounds: compilations of the gradients that goals compare, in alternation; the others have one.
      step_depths: steps a level of the training steps that race.
      sampling_depth: steps a level of the Glow that is sampled.
      rounds: rounds of a race; each system has one turn a round.
      calls: timed calls a turn.
      large_side: of the images of the large Glow.
      large_levels: of it.
      large_depth: steps a level of it.
      large_batch: images its gradient is of.
      drift_depths: steps a level of the Glows whose reconstructions are measured.
      drift_width: channels of their conditioners.
      drift_batch: images a measurement and a training step.
      drift_steps: training steps between the two measurements.
      anchor_every: steps between the stored activations of the stacks that have some.
    """

    side: int = 32
    levels: int = 3
    width: int = 64
    batch: int = 16
    depths: tuple[int, int] = (4, 32)
    compile_rounds: int = 3
    step_depths: tuple[int, ...] = (8, 32)
    sampling_depth: int = 32
    rounds: int = 9
    calls: int = 2
    large_side: int = 64
    large_levels: int = 6
    large_depth: int = 32
    large_batch: int = 4
    drift_depths: tuple[int, ...] = (32, 64)
    drift_width: int = 16
    drift_batch: int = 16
    drift_steps: int = 200
    anchor_every: int = 8


QUICK = Work(
    side=16,
    levels=2,
    width=4,
    batch=2,
    depths=(2, 8),
    compile_rounds=1,
    step_depths=(2,),
    sampling_depth=2,
    rounds=2,
    calls=1,
    large_side=16,
    large_levels=2,
    large_depth=2,
    large_batch=1,
    drift_depths=(4,),
    drift_width=4,
    drift_batch=4,
    drift_steps=2,
    anchor_every=2,
)


class Goal(NamedTuple):
    """A bound that a measurement was made for.

    Attributes:
      what: is bounded.
      measured: the number.
      at_most: the bound.
    """

    what: str
    measured: float
    at_most: float


class Compiled(NamedTuple):
    """A compiled program and what it took.

    Attributes:
      program: what ``jax.jit(...).lower(...).compile()`` returns.
      seconds: to trace, lower and compile it.
      cpu_seconds: of processor time for that, all threads together.
      arguments: it can be called with.
    """

    program: Any
    seconds: float
    cpu_seconds: float
    arguments: tuple[Any, ...]

    @property
    def temporary_mib(self) -> float:
        """Memory beside arguments and results, exact."""
        return int(self.program.memory_analysis().temp_size_in_bytes) / 2**20

    @property
    def flops(self) -> float:
        """As XLA counts them: the body of a loop once."""
        return float(self.program.cost_analysis()["flops"])


def glow(work: Work, depth: int, **options: Any) -> dgm.Glow:
    """The Glow that is measured, but for ``options``; equal arguments, equal arrays."""
    settings: dict[str, Any] = {
        "event_shape": (work.side, work.side, 3),
        "levels": work.levels,
        "depth": depth,
        "width": work.width,
    }
    return dgm.Glow(**settings | options, rngs=nnx.Rngs(SEED))


def unrolled(flow: dgm.Flow) -> dgm.Flow:
    """The same function with a `dgmjax.Chain` in place of every `dgmjax.Stack`."""
    multi_scale = flow.multi_scale
    levels = []
    for level in multi_scale.levels:
        layers: Any = level.layers  # type: ignore[attr-defined]
        levels.append(
            dgm.Chain(
                [
                    dgm.Chain(layer.layers) if isinstance(layer, dgm.Stack) else layer
                    for layer in layers
                ]
            )
        )
    return dgm.Flow(dgm.layers.MultiScale(levels, list(multi_scale.priors)), flow.base)


def moved(flow: dgm.Flow) -> dgm.Flow:
    """``flow`` with noise on its parameters: at first couplings are the identity, and many values zero."""
    params, fixed, merge = partition(flow)
    random = np.random.RandomState(SEED)
    noisy = {
        name: value + 0.005 * jnp.asarray(random.standard_normal(value.shape), value.dtype)
        for name, value in params.items()
    }
    return merge(noisy, fixed)


def images(side: int, batch: int) -> jax.Array:
    """Standard normal, ``[batch, side, side, 3]``, where values do not matter."""
    return jax.random.normal(jax.random.key(SEED), (batch, side, side, 3), jnp.float32)


def loss(merge: Callable[..., Any]) -> Callable[..., jax.Array]:
    """``loss(params, fixed, x)``, the mean negative log-likelihood."""

    def mean_nll(params: Any, fixed: Any, x: jax.Array) -> jax.Array:
        return -merge(params, fixed).log_prob(x).mean()

    return mean_nll


def compiled_gradient(
    flow: Any, x: jax.Array, compiler_options: dict[str, Any] | None = None
) -> Compiled:
    """The jitted value and gradient of the mean negative log-likelihood of ``x``.

    Its seconds are those of a fresh process only after ``jax.clear_caches()``.
    """
    params, fixed, merge = partition(flow)
    started, cpu_started = time.perf_counter(), time.process_time()
    lowered = jax.jit(jax.value_and_grad(loss(merge))).lower(params, fixed, x)
    program = lowered.compile(compiler_options)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return Compiled(program, seconds, cpu_seconds, (params, fixed, x))
