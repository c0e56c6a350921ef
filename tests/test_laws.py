"""Every bijector of the table meets every law, in every run: one compiled program a row and law.

Long programs that add little, `dgmjax.testing.check_bijector` in each dtype and for each batch, are thinned or slow.
"""

import contextlib
import functools
import sys
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from tests.instances import Instance
from tests.rows import BIJECTORS

NAMES = list(BIJECTORS)
# Rows whose networks have dropout.
DROPOUT = [
    name
    for name in NAMES
    if any(
        word in name
        for word in ("coupling", "chain", "stack, r", "change places", "dropout", "Flow++")
    )
]
SEED = 2
# Finite differences of the norms that power iteration keeps up to date are not their gradients.
KEEPS_NORMS = {name for name in NAMES if name.startswith("residual")}


def build(instance: Instance, seed: int, dtype: type) -> dgm.Bijector:
    return cast(_scrambled(instance, seed), dtype)


@functools.cache
def _scrambled(instance: Instance, seed: int) -> dgm.Bijector:
    return scramble(instance.make(nnx.Rngs(seed)), jax.random.key(seed))


def inputs(instance: Instance, layer: dgm.Bijector, batch: tuple[int, ...], seed: int, dtype: type):
    x_key, context_key = jax.random.split(jax.random.key(100 + seed))
    x = instance.data(x_key, (*batch, *layer.event_shape)).astype(dtype)
    if isinstance(layer, dgm.Inverse):
        x = layer.inverse(x, None) if instance.context_shape is None else x
    context = None
    if instance.context_shape is not None:
        context = jax.random.normal(context_key, (*batch, *instance.context_shape)).astype(dtype)
    return x, context


@contextlib.contextmanager
def optimized(*, enabled: bool = True):
    """Compiles with XLA's optimizations, as users do: the suite may run without."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, not enabled)
    try:
        yield
    finally:
        jax.config.update(name, before)


class Facts(NamedTuple):
    """Results of one program for a row, in float64: a batch in both directions, single events with their Jacobians."""

    z: np.ndarray
    log_det: np.ndarray
    x: np.ndarray
    forward_log_det: np.ndarray
    inverse_event: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]
    forward_event: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]
    loss: np.ndarray
    gradients: Any


def _program(merge: Any, jacobian: Any) -> Any:
    def event_of(method: Any, event: jax.Array, context: jax.Array | None) -> Any:
        def flat(event: jax.Array) -> Any:
            out, log_det = method(event, context)
            return out.reshape(-1), (out, log_det)

        return jacobian(flat, has_aux=True)(event)

    def loss(free: Any, fixed: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        params, x, context = free
        z, log_det = merge(params, fixed).inverse_and_log_det(x, context)
        # No symmetric function of the latents: one does not see rotations.
        weights = np.random.RandomState(0).normal(size=z.shape).astype(z.dtype)
        return (weights * z).sum() + (z**2).sum() - log_det.sum(), (z, log_det)

    def program(free: Any, fixed: Any) -> Facts:
        params, x, context = free
        layer = merge(params, fixed)
        (value, (z, log_det)), gradients = jax.value_and_grad(loss, has_aux=True)(free, fixed)
        back, forward_log_det = layer.forward_and_log_det(z, context)
        first = None if context is None else context[0]
        return Facts(
            z=z,
            log_det=log_det,
            x=back,
            forward_log_det=forward_log_det,
            inverse_event=event_of(layer.inverse_and_log_det, x[0], first),
            forward_event=event_of(layer.forward_and_log_det, z[0], first),
            loss=value,
            gradients=gradients,
        )

    return program


class Case(NamedTuple):
    """A row at four events: parameters, events and contexts, and the program of it."""

    layer: dgm.Bijector
    free: Any
    fixed: Any
    run: Any


@functools.cache
def case(name: str) -> Case:
    instance = BIJECTORS[name]
    layer = build(instance, SEED, jnp.float64)
    x, context = inputs(instance, layer, (4,), 3, jnp.float64)
    params, fixed, merge = dgm.training.partition(layer)
    free = params, x, context
    try:
        lowered = jax.jit(_program(merge, jax.jacfwd)).lower(free, fixed)
    except TypeError as error:
        if not any(word in str(error) for word in ("custom_vjp", "in reverse mode only")):
            raise
        lowered = jax.jit(_program(merge, jax.jacrev)).lower(free, fixed)
    with optimized():
        return Case(layer, free, fixed, lowered.compile())


@functools.cache
def facts(name: str) -> Facts:
    _, free, fixed, run = case(name)
    return jax.device_get(run(free, fixed))


def close(got: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_row_is_exact(name):
    """Round trip, log-determinants against Jacobians, contexts that count: the laws without which nothing holds."""
    layer, (params, x, context), fixed, run = case(name)
    found = facts(name)
    assert found.z.shape == (4, *layer.latent_shape)
    assert found.x.shape == (4, *layer.event_shape)
    assert found.log_det.shape == found.forward_log_det.shape == (4,)
    for array in (found.z, found.x, found.log_det, found.forward_log_det):
        assert array.dtype == np.float64
    close(found.x, x, 1e-9)
    close(found.forward_log_det, -found.log_det, 1e-9)
    for (jacobian, (out, log_det)), value, batched in (
        (found.inverse_event, found.z[0], found.log_det[0]),
        (found.forward_event, found.x[0], found.forward_log_det[0]),
    ):
        size = out.size
        close(log_det, np.linalg.slogdet(jacobian.reshape(size, size))[1], 1e-9)
        close(out, value, 1e-9)
        close(log_det, batched, 1e-9)
    if context is not None:
        elsewhere = run((params, x, context[::-1]), fixed).z
        assert (abs(elsewhere - found.z).reshape(4, -1).max(1) > 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_event_and_context_gets_the_gradient_of_the_loss(name):
    """Each is finite and not zero, and along a random direction they are a difference quotient."""
    _, free, fixed, run = case(name)
    flat, _ = jax.tree.flatten_with_path(facts(name).gradients)
    for path, gradient in flat:
        assert np.isfinite(gradient).all(), path
        assert abs(gradient).max() > 1e-7, path
    random, step = np.random.RandomState(1), 1e-6
    leaves, structure = jax.tree.flatten(jax.device_get(free))
    ways = [random.normal(size=leaf.shape) for leaf in leaves]
    if name in KEEPS_NORMS:
        ways[:-1] = [np.zeros_like(way) for way in ways[:-1]]
    ends = [
        jax.tree.unflatten(
            structure, [leaf + sign * step * way for leaf, way in zip(leaves, ways, strict=True)]
        )
        for sign in (1.0, -1.0)
    ]
    high, low = (float(run(end, fixed).loss) for end in ends)
    slopes = [(gradient * way).sum() for (_, gradient), way in zip(flat, ways, strict=True)]
    scale = np.sqrt(sum(slope**2 for slope in slopes)) + abs(facts(name).loss)
    assert abs((high - low) / (2 * step) - sum(slopes)) < 1e-5 * scale


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_stays_single_and_near_double(name):
    layer, (_, x, context), _, _ = case(name)

    @jax.jit
    def there_and_back(layer, x, context):
        z, log_det = layer.inverse_and_log_det(x, context)
        return z, log_det, *layer.forward_and_log_det(z, context)

    single = [cast(part, jnp.float32) for part in (layer, x, context)]
    z, log_det, back, forward_log_det = jax.device_get(there_and_back(*single))
    tolerance = dgm.testing.Tolerance.for_dtype(jnp.float32)
    for got, expected, allowed in (
        (back, single[1], tolerance.round_trip),
        (forward_log_det, -log_det, tolerance.log_det),
        (z, facts(name).z, 10 * tolerance.round_trip),
        (log_det, facts(name).log_det, 10 * tolerance.log_det),
    ):
        assert got.dtype == np.float32
        close(got, expected, allowed)


@pytest.mark.parametrize("name", DROPOUT)
def test_dropout_is_one_map_in_both_directions_and_in_training(name):
    layer, (_, x, context), _, _ = case(name)

    @jax.jit
    def there_and_back(layer, x, context, key):
        z, log_det = layer.inverse_and_log_det(x, context, key=key)
        x, forward_log_det = layer.forward_and_log_det(z, context, key=key)
        updated, training_log_det, new = layer.inverse_and_update(x, context, key=key)
        rebuilt = layer.forward_in_training(z, context, key=key)
        return (z, updated), (x, rebuilt), (log_det, -forward_log_det, training_log_det), new

    latents, data, log_dets, new = there_and_back(layer, x, context, jax.random.key(5))
    for z in latents:
        close(z, latents[0], 1e-9)
    for back in data:
        close(back, x, 1e-9)
    for log_det in log_dets:
        close(log_det, log_dets[0], 1e-9)
    assert not np.allclose(facts(name).z, latents[0])
    chex.assert_trees_all_equal(new, layer)


# Their programs take half a minute to compile, again and again where each law has its own.
LONG = ("Flow++", "RealNVP, images", "glow", "rosenblatt")


def _slow_if_long(names):
    for name in names:
        marks = [pytest.mark.slow] if name.startswith(LONG) else []
        yield pytest.param(name, marks=marks)


# A loop over single events is in it; single precision is a law of its own above.
@pytest.mark.parametrize("name", list(_slow_if_long(NAMES)))
@pytest.mark.one_in(4)
def test_bijector_obeys_the_laws(name):
    instance = BIJECTORS[name]
    layer = build(instance, 2, jnp.float64)
    x, context = inputs(instance, layer, (2, 3), 2, jnp.float64)
    dgm.testing.check_bijector(layer, x, context=context)


def test_every_bijector_of_the_library_is_in_a_row():
    def subclasses(cls):
        return {cls}.union(*map(subclasses, cls.__subclasses__()))

    made = {
        type(module)
        for instance in BIJECTORS.values()
        for _, module in nnx.iter_modules(_scrambled(instance, SEED))
    }
    library = {
        cls
        for cls in subclasses(dgm.Bijector)
        if cls.__module__.startswith("dgmjax.")
        and getattr(sys.modules[cls.__module__], cls.__name__, None) is cls
    }
    # A wrapper that runs other layers has tests of its own.
    assert library - {dgm.Bijector, dgm.layers.Checked} <= made


def test_rows_are_compiled_with_the_optimizations_of_xla():
    """They change the machine code, and that of the rows does not depend on how the suite runs."""

    def size(*, enabled: bool) -> int:
        with optimized(enabled=enabled):
            compiled = (
                jax.jit(lambda x: jnp.tanh(x) @ jnp.sin(x)).lower(jnp.ones((64, 64))).compile()
            )
        return len(compiled.runtime_executable().serialize())

    before = jax.config.values["jax_disable_most_optimizations"]
    assert size(enabled=True) != size(enabled=False)
    assert jax.config.values["jax_disable_most_optimizations"] is before
