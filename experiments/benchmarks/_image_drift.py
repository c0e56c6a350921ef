"""How far reversible stacks in float32 drift from the activations they rebuild, and what that does to gradients."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dgmjax as dgm
from dgmjax.training import partition
from experiments.benchmarks._image_work import SEED, Work, compiled_gradient, glow, loss
from experiments.benchmarks._timing import Row
from experiments.benchmarks._training_work import Part

_LEARNING_RATE = 1e-3


class Photos(NamedTuple):
    """Real images.

    Attributes:
      name: of the data set.
      train: integers ``[n, h, w, c]``.
      test: of the same kind.
      num_values: they have, from 0.
      levels: that a Glow on them can have, of those asked for.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    num_values: int
    levels: int

    def batch(self, rows: np.ndarray, random: np.random.RandomState) -> jax.Array:
        """``(rows + u) / num_values - 1/2`` with uniform noise ``u``, float32: densities are of these values."""
        values = (rows + random.uniform(size=rows.shape)) / self.num_values - 0.5
        return jnp.asarray(values.astype(np.float32))


class Variant(NamedTuple):
    """One way to take the gradient of one function.

    Attributes:
      name: of the way.
      merge: parameters and fixed arrays to the model, as `dgmjax.training.partition` returns it.
      gradient: compiled, ``(params, fixed, x) -> (loss, gradient)``.
      temporary_mib: of the gradient of one batch, exact.
    """

    name: str
    merge: Callable[..., Any]
    gradient: Callable[..., Any]
    temporary_mib: float


def photos(work: Work) -> Photos:
    """``natural32`` where it is prepared and read at its size, otherwise digits, 8 x 8."""
    if work.side == 32:
        try:
            data = dgm.data.load_dataset("natural32")
            return Photos("natural32", data.train, data.test, 256, work.levels)
        except (dgm.data.DataNotFound, ImportError) as error:
            print(f"drift: digits in place of natural32: {error}", flush=True)
    data = dgm.data.load_dataset("digits")
    train, test = (np.asarray(x).reshape(-1, 8, 8, 1) for x in (data.train, data.test))
    return Photos("digits", train, test, 17, min(work.levels, 2))


def drift(work: Work) -> Part:
    """Reconstructions and gradients at the start and after training, at every depth."""
    data = photos(work)
    rows: list[Row] = []
    facts: dict[str, Any] = {"data": data.name}
    for depth in work.drift_depths:
        more, fact = _of_depth(work, data, depth)
        rows += more
        facts[f"depth {depth}"] = fact
    return Part(rows, facts)


def _of_depth(work: Work, data: Photos, depth: int) -> tuple[list[Row], dict[str, Any]]:
    random = np.random.RandomState(SEED)
    shape = data.train.shape[1:]
    x = data.batch(data.test[: work.drift_batch], random)
    options: dict[str, dict[str, Any]] = {
        "plain": {"reversible": False},
        "reversible": {},
        f"reversible, anchor_every={work.anchor_every}": {"anchor_every": work.anchor_every},
    }
    variants: list[Variant] = []
    params: Any = {}
    fixed: Any = {}
    for name, option in options.items():
        flow = glow(
            work, depth, event_shape=shape, levels=data.levels, width=work.drift_width, **option
        )
        if not params:
            first = data.batch(_rows(data.train, 256, random), random)
            params, fixed, _ = partition(flow.with_data_init(first))
        merge = partition(flow)[2]
        made = compiled_gradient(flow, x)
        variants.append(Variant(name, merge, made.program, made.temporary_mib))
    title = f"{data.name}, {data.levels} levels of {depth} steps"
    rows, facts = _measured(f"{title}, at the start", variants, params, fixed, x)
    facts = {"start": facts}
    ends = {}
    for variant in variants[:2]:
        started = time.perf_counter()
        ends[variant.name], losses = _trained(work, data, variant, params, fixed)
        facts[f"trained, {variant.name}"] = {
            "bits_per_dim": [_bits(value, x, data.num_values) for value in losses],
            "seconds": time.perf_counter() - started,
        }
        after = _bits(float(variant.gradient(ends[variant.name], fixed, x)[0]), x, data.num_values)
        rows.append(
            Row(f"{title}, trained {work.drift_steps} steps, bits/dim of unseen images",
                f"{variant.name} gradients", "bits/dim", after,
                note=f"before training {_bits(float(variant.gradient(params, fixed, x)[0]), x, data.num_values):.4g}")
        )  # fmt: skip
    more, facts["end"] = _measured(
        f"{title}, after {work.drift_steps} steps", variants, ends["reversible"], fixed, x
    )
    for variant in variants:
        rows.append(
            Row(f"{title}, temporary memory of the gradient", variant.name, "MiB",
                variant.temporary_mib, note="exact")
        )  # fmt: skip
    return rows + more, facts


def _measured(
    title: str, variants: Sequence[Variant], params: Any, fixed: Any, x: jax.Array
) -> tuple[list[Row], dict[str, Any]]:
    """Round trips, and the gradients against each other and against float64."""
    trips = jax.jit(lambda params, fixed, x: round_trips(variants[0].merge(params, fixed), x))
    errors = {name: np.asarray(values) for name, values in trips(params, fixed, x).items()}
    rows = []
    for name, values in errors.items():
        rows += [
            Row(f"{title}, |x - forward(inverse(x))| / std", f"{name}, max", "", float(values.max())),
            Row(f"{title}, |x - forward(inverse(x))| / std", f"{name}, median", "", float(np.median(values))),
        ]  # fmt: skip
    exact = _float64_gradient(variants[0].merge, params, fixed, x)
    gradients = {v.name: v.gradient(params, fixed, x)[1] for v in variants}
    facts: dict[str, Any] = {"relative_to_plain": {}, "relative_to_float64": {}}
    for name, found in gradients.items():
        facts["relative_to_plain"][name] = relative_difference(found, gradients["plain"])
        facts["relative_to_float64"][name] = relative_difference(found, exact)
        rows.append(
            Row(f"{title}, |gradient - float64| / |float64|", f"{name}, float32", "",
                facts["relative_to_float64"][name],
                note=f"to plain float32 {facts['relative_to_plain'][name]:.3g}")
        )  # fmt: skip
    return rows, facts


def round_trips(flow: dgm.Glow, x: jax.Array) -> dict[str, jax.Array]:
    """``|h - forward(inverse(h))|`` over the standard deviation of ``h``, for the data and for what each stack gets."""
    found = {"whole": _round_trip(flow.bijector, x)}
    h = x
    for index, level in enumerate(flow.multi_scale.levels):
        squeeze, stack, *_ = level.layers  # type: ignore[attr-defined]
        h = squeeze.inverse(h)
        found[f"stack {index}"] = _round_trip(stack, h)
        h = jnp.split(stack.inverse(h), 2, axis=-1)[0]
    return found


def relative_difference(found: dict[str, Any], reference: dict[str, Any]) -> float:
    """``|found - reference| / |reference|``, Euclidean over all parameters together, computed in float64."""
    pairs = [
        (np.asarray(found[name], np.float64), np.asarray(reference[name], np.float64))
        for name in reference
    ]
    difference = sum(float(np.square(a - b).sum()) for a, b in pairs)
    return float(np.sqrt(difference / sum(float(np.square(b).sum()) for _, b in pairs)))


def _round_trip(bijector: Any, x: jax.Array) -> jax.Array:
    # The two passes must not see each other: XLA would cancel what one adds and the other subtracts.
    z = jax.lax.optimization_barrier(bijector.inverse(x))
    return jnp.abs(x - bijector.forward(z)) / x.std()


def _float64_gradient(merge: Callable[..., Any], params: Any, fixed: Any, x: jax.Array) -> Any:
    with jax.enable_x64(True):  # noqa: FBT003 - the context manager of jax
        wide = [jax.tree.map(_widened, tree) for tree in (params, fixed, x)]
        gradient = jax.jit(jax.grad(loss(merge)))(*wide)
        return jax.tree.map(np.asarray, gradient)


def _widened(value: jax.Array) -> jax.Array:
    values = np.asarray(value)
    return jnp.asarray(values.astype(np.float64) if values.dtype == np.float32 else values)


def _trained(
    work: Work, data: Photos, variant: Variant, params: Any, fixed: Any
) -> tuple[Any, list[float]]:
    """Parameters after Adam's steps, from the same batches for every variant, and the loss of each step."""
    # At the full rate the first step of Adam ends the training of so deep a Glow, whatever the gradient.
    optimizer = dgm.training.default_optimizer(
        learning_rate=_LEARNING_RATE,
        steps=work.drift_steps,
        warmup_steps=work.drift_steps // 2,
        clip_norm=10.0,
        schedule="constant",
    )

    @jax.jit
    def update(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    random = np.random.RandomState(SEED + 1)
    state, losses = optimizer.init(params), []
    for _ in range(work.drift_steps):
        x = data.batch(_rows(data.train, work.drift_batch, random), random)
        value, grads = variant.gradient(params, fixed, x)
        params, state = update(params, state, grads)
        losses.append(float(value))
    return params, losses


def _rows(train: np.ndarray, num: int, random: np.random.RandomState) -> np.ndarray:
    return train[random.randint(0, len(train), num)]


def _bits(nats: float, x: jax.Array, num_values: int) -> float:
    """Of the integers, per dimension: the values lie in an interval of length 1."""
    return nats / (x[0].size * np.log(2.0)) + float(np.log2(num_values))
