"""Ends and infinities: log-densities are -inf there, never NaN; NaN gives NaN; gradients are finite or zero."""

import functools
import zlib
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from tests.instances import Instance, cast, scramble
from tests.rows import BIJECTORS

INF, MAX = np.inf, float(np.finfo(np.float32).max)
BEYOND = [-INF, INF, -MAX, MAX, -3e38, 3e38]  # of every density below
ENDS = [0.0, 1.0, -1.0, 7.0, 17.0, 256.0, -1e-6, 1e4, 1e10, -1e15, 1e25, -1e30]


class Row(NamedTuple):
    """A density, an ordinary event, and where an element of an event is at an end or outside."""

    model: Any
    x: np.ndarray
    outside: tuple[float, ...] = ()
    context: np.ndarray | None = None


def seed_of(name: str) -> int:
    return zlib.crc32(name.encode()) % 1000


OUTSIDE = {
    "softplus": (0.0, -1e-6, -5.0),
    "sigmoid": (0.0, 1.0, -0.1, 1.5),
    "tanh": (-1.0, 1.0, 3.0, -1e4),
    "logit": (-100.0, 400.0),
    "logit, tiny alpha, image": (-1.0, 18.0),
    "histogram": (-1.0, 8.0),
    "histogram, uniform": (-1.0, 18.0),
    "chain": (-2.0, 11.0),
    "inverse cdf, half line": (0.0, -1.0),
    "logit, no alpha": (0.0, 1.0, 3.0, -2.0),
    "logit, no alpha, levels": (0.0, 256.0, 257.0, -2.0),
}


def of_bijector(name: str, instance: Instance) -> Row:
    layer = cast(scramble(instance.make(nnx.Rngs(1)), jax.random.key(1)), jnp.float32)
    shape = tuple(layer.event_shape)
    x = np.asarray(instance.data(jax.random.key(2), shape), np.float32)
    context = None
    if instance.context_shape is not None:
        context = np.random.RandomState(0).normal(size=instance.context_shape).astype(np.float32)
    return Row(dgm.Flow(layer), x, OUTSIDE.get(name, ()), context)


LAYERS: dict[str, Any] = {
    "logit, no alpha": lambda: dgm.Logit((2,), 1.0, alpha=0.0),
    "logit, no alpha, levels": lambda: dgm.Logit((2,), 256.0, alpha=0.0),
    "inverse cdf, half line": lambda: dgm.layers.InverseCDF(
        distrax.Gamma(jnp.float32(0.7), jnp.float32(1.5)), (2,), support=(0.0, INF)
    ),
    "inverse cdf, mixture": lambda: dgm.layers.InverseCDF(
        distrax.MixtureSameFamily(
            distrax.Categorical(logits=jnp.zeros(2, jnp.float32)),
            distrax.Normal(jnp.asarray([-1.0, 1.0], jnp.float32), jnp.float32(0.1)),
        ),
        (2,),
    ),
    "sigmoid, then a coupling": lambda: dgm.Chain(
        [dgm.layers.Sigmoid((2,)), dgm.RealNVP((2,), depth=2, width=4, rngs=nnx.Rngs(0)).bijector]
    ),
    "inverse of a chain": lambda: dgm.Inverse(
        dgm.RealNVP((2,), depth=4, width=4, rngs=nnx.Rngs(0)).bijector
    ),
}
OUTSIDE["sigmoid, then a coupling"] = OUTSIDE["sigmoid"]


def of_layer(name: str) -> Row:
    layer = scramble(LAYERS[name](), jax.random.key(1))
    return Row(dgm.Flow(layer), np.full((2,), 0.4, np.float32), OUTSIDE.get(name, ()))


VECTOR = {"width": 4, "hidden_layers": 1}
MODELS: dict[str, Any] = {
    "RealNVP": lambda r: dgm.RealNVP((3,), depth=3, **VECTOR, rngs=r),
    "RealNVP, reversible, exp": lambda r: dgm.RealNVP(
        (4,), depth=4, scale_fn="exp", reversible=True, **VECTOR, rngs=r
    ),
    "RealNVP, standardized, softplus": lambda r: dgm.RealNVP(
        (2,), depth=2, scale_fn="softplus", preprocess=dgm.Standardize((2,)), **VECTOR, rngs=r
    ),
    "RealNVP, bfloat16": lambda r: dgm.RealNVP(
        (2,), depth=2, compute_dtype="bfloat16", **VECTOR, rngs=r
    ),
    "NICE": lambda r: dgm.NICE((3,), depth=2, **VECTOR, rngs=r),
    "MAF": lambda r: dgm.MAF((3,), depth=3, **VECTOR, rngs=r),
    "MAF, spline": lambda r: dgm.MAF((3,), depth=2, transformer="spline", **VECTOR, rngs=r),
    "IAF": lambda r: dgm.IAF((4,), depth=2, **VECTOR, rngs=r),
    "IAF, jacobi, gated": lambda r: dgm.IAF(
        (3,), depth=2, sequential="jacobi", transformer="gated", **VECTOR, rngs=r
    ),
    "NeuralSplineFlow": lambda r: dgm.NeuralSplineFlow((4,), depth=2, **VECTOR, rngs=r),
    "PlanarFlow": lambda r: dgm.PlanarFlow((3,), depth=3, rngs=r),
    "PlanarFlow, sampling, softplus": lambda r: dgm.PlanarFlow(
        (3,), depth=3, fast="sampling", h="softplus", rngs=r
    ),
    "RadialFlow": lambda r: dgm.RadialFlow((3,), depth=3, rngs=r),
    "RadialFlow, sampling": lambda r: dgm.RadialFlow((3,), depth=3, fast="sampling", rngs=r),
    "ResidualFlow": lambda r: dgm.ResidualFlow((2,), depth=2, width=4, rngs=r),
    "Glow": lambda r: dgm.Glow((4, 4, 2), levels=2, depth=1, width=4, rngs=r),
    "RealNVP, images": lambda r: dgm.RealNVP((4, 4, 1), depth=2, width=4, rngs=r),
    "flow under a flow": lambda r: dgm.Flow(
        dgm.ActNorm((2,)), dgm.RealNVP((2,), depth=2, **VECTOR, rngs=r)
    ),
    "narrow base": lambda r: dgm.Flow(
        dgm.ActNorm((2,)),
        dgm.layers.IID(distrax.Normal(jnp.float32(0.0), jnp.float32(0.3)), (2,)),
    ),
    "StochasticFlow": lambda r: dgm.layers.StochasticFlow(
        [
            dgm.Standardize((4,)),
            dgm.layers.Slice(
                (4,), 2, dgm.RealNVP((2,), depth=2, context_shape=(2,), **VECTOR, rngs=r)
            ),
            dgm.ActNorm((2,)),
        ]
    ),
}


def of_model(name: str) -> Row:
    model = cast(scramble(MODELS[name](nnx.Rngs(0)), jax.random.key(1)), jnp.float32)
    x = np.random.RandomState(0).normal(size=model.event_shape).astype(np.float32)
    return Row(model, x)


@functools.partial(jax.jit, static_argnames="scale")
def program(model: Any, x: jax.Array, context: Any, key: jax.Array, *, scale: float):
    """Log-densities, their gradients for all and for the first event, and those of samples of a wide base."""

    leaves, tree = jax.tree.flatten(model)
    inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def log_prob(numbers: list[jax.Array], x: jax.Array) -> jax.Array:
        numbers = iter(numbers)
        merged = [next(numbers) if b else a for a, b in zip(leaves, inexact, strict=True)]
        model = jax.tree.unflatten(tree, merged)
        return model.log_prob(x) if context is None else model.log_prob(x, context)

    numbers = [leaf for leaf, b in zip(leaves, inexact, strict=True) if b]
    values, pull = jax.vjp(log_prob, numbers, x)
    first = jnp.arange(len(x)) == 0
    gradients = [pull(weight.astype(values.dtype)) for weight in (jnp.ones(len(x)), first)]
    if isinstance(model, dgm.layers.StochasticFlow):
        samples = model.sample(seed=key, sample_shape=(50,), temperature=scale)
    else:
        options = {} if context is None else {"context": context}
        samples = model.sample(seed=key, sample_shape=(50,), temperature=scale, **options)
    return values, gradients, samples, log_prob(numbers, samples)


def batch_of(row: Row) -> tuple[np.ndarray, dict[str, slice]]:
    """Events that differ from the ordinary one in their first element, or the last, or all."""
    rows, parts = [row.x], {}
    for part, numbers in (("beyond", BEYOND), ("outside", row.outside), ("ends", ENDS)):
        start = len(rows)
        for number in numbers:
            for place in (0, -1, slice(None)):
                x = row.x.copy()
                x.reshape(-1)[place] = number
                rows.append(x)
        parts[part] = slice(start, len(rows))
    start = len(rows)
    for other in (row.x.flat[0], INF):
        x = np.full_like(row.x, other)
        x.reshape(-1)[-1] = np.nan
        rows.append(x)
    parts["nan"] = slice(start, len(rows))
    return np.stack(rows), parts


ROWS = (
    {
        f"layer, {name}": functools.partial(of_bijector, name, instance)
        for name, instance in BIJECTORS.items()
        if not instance.slow
    }
    | {f"layer, {name}": functools.partial(of_layer, name) for name in LAYERS}
    | {f"model, {name}": functools.partial(of_model, name) for name in MODELS}
)


@pytest.mark.parametrize("name", ROWS)
def test_ends_and_infinities(name, x32):
    row = ROWS[name]()
    x, parts = batch_of(row)
    key = jax.random.key(seed_of(name))
    values, gradients, samples, of_samples = jax.device_get(
        program(row.model, x, row.context, key, scale=20.0 if name.startswith("layer") else 2.0)
    )
    assert np.isfinite(values[0])
    assert (values[parts["beyond"]] == -np.inf).all()
    assert (values[parts["outside"]] == -np.inf).all()
    assert np.isnan(values[parts["nan"]]).all()
    assert not np.isnan(values[parts["ends"]]).any()
    assert (values[: parts["ends"].stop] < np.inf).all()
    for by_all, by_first in zip(*map(jax.tree.leaves, gradients), strict=True):
        assert np.isfinite(by_all).all()
        assert np.isfinite(by_first).all()
    of_x = gradients[0][1].reshape(len(x), -1)
    assert (of_x[values == -np.inf] == 0).all()
    assert not np.isnan(samples).any()
    assert np.isfinite(of_samples).all()
