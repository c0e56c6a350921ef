"""Every bijector of the table against the laws of `dgmjax.testing`, in float64 and float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from tests.instances import Instance, cast, scramble
from tests.rows import BIJECTORS


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


def _cases():
    for name, instance in BIJECTORS.items():
        # check_bijector itself goes through single events, one batch axis (vmap) and one more.
        marks = [pytest.mark.slow] if instance.slow else []
        yield pytest.param(name, jnp.float64, (2, 3), 2, marks=marks, id=name)
        for dtype, batch, seed in (
            (jnp.float32, (3,), 3),
            (jnp.float64, (), 0),
            (jnp.float64, (3,), 1),
        ):
            case = f"{name}, {dtype.__name__}, {batch}"
            yield pytest.param(name, dtype, batch, seed, marks=pytest.mark.slow, id=case)


NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if instance.slow else [])
    for name, instance in BIJECTORS.items()
]


@pytest.mark.parametrize(("name", "dtype", "batch", "seed"), list(_cases()))
@pytest.mark.one_in(3)
def test_bijector_obeys_the_laws(name, dtype, batch, seed):
    instance = BIJECTORS[name]
    layer = build(instance, seed, dtype)
    x, context = inputs(instance, layer, batch, seed, dtype)
    dgm.testing.check_bijector(layer, x, context=context)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.one_in(3)
def test_single_precision_stays_single_and_near_double(name):
    """The quick part of the laws in float32; all of them are among the slow ones."""
    instance = BIJECTORS[name]
    layer = build(instance, 2, jnp.float64)
    x, context = inputs(instance, layer, (3,), 3, jnp.float64)

    @jax.jit
    def there_and_back(layer, x, context):
        z, log_det = layer.inverse_and_log_det(x, context)
        return z, log_det, *layer.forward_and_log_det(z, context)

    single = [cast(part, jnp.float32) for part in (layer, x, context)]
    z, log_det, back, forward_log_det = there_and_back(*single)
    exact_z, exact_log_det, *_ = there_and_back(layer, x, context)
    tolerance = dgm.testing.Tolerance.for_dtype(jnp.float32)
    for got, expected, allowed in (
        (back, single[1], tolerance.round_trip),
        (forward_log_det, -log_det, tolerance.log_det),
        (z, exact_z, 10 * tolerance.round_trip),
        (log_det, exact_log_det, 10 * tolerance.log_det),
    ):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, rtol=allowed, atol=allowed)


@pytest.mark.parametrize(
    "name", [name for name in BIJECTORS if "coupling" in name or "chain" in name]
)
@pytest.mark.one_in(3)
def test_dropout_is_one_map_in_both_directions(name):
    instance = BIJECTORS[name]
    layer = build(instance, 2, jnp.float64)
    x, context = inputs(instance, layer, (3,), 4, jnp.float64)
    key = jax.random.key(5)
    z, log_det = layer.inverse_and_log_det(x, context, key=key)
    back, forward_log_det = layer.forward_and_log_det(z, context, key=key)
    assert jnp.allclose(back, x, atol=1e-9)
    assert jnp.allclose(log_det, -forward_log_det, atol=1e-9)
    quiet, _ = layer.inverse_and_log_det(x, context)
    assert not jnp.allclose(quiet, z)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.one_in(3)
def test_every_parameter_gets_a_gradient(name):
    instance = BIJECTORS[name]
    layer = build(instance, 2, jnp.float64)
    x, context = inputs(instance, layer, (16,), 6, jnp.float64)
    params, fixed, merge = dgm.training.partition(layer)

    def loss(params):
        z, log_det = merge(params, fixed).inverse_and_log_det(x, context)
        return (z**2).sum() - log_det.sum()

    for path, grad in jax.device_get(jax.jit(jax.grad(loss))(params)).items():
        assert np.isfinite(grad).all(), path
        assert (grad != 0).any(), path


@pytest.mark.parametrize("scale_fn", ["tanh", "double_sigmoid", "exp"])
def test_a_fresh_coupling_is_the_identity(scale_fn):
    from tests.instances import coupling

    layer = coupling(4, "alternating", scale_fn)(nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (5, 4), jnp.float32)
    z, log_det = layer.inverse_and_log_det(x)
    assert jnp.array_equal(z, x)
    assert jnp.array_equal(log_det, jnp.zeros(5, jnp.float32))


def test_masked_elements_pass_through_unchanged():
    mask = [True, False, True, True, False]
    from tests.instances import coupling

    layer = scramble(coupling(5, mask)(nnx.Rngs(0)), jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (7, 5), jnp.float32)
    x = layer.forward(z)
    kept = jnp.asarray(mask)
    assert jnp.array_equal(x[:, kept], z[:, kept])
    assert (x[:, ~kept] != z[:, ~kept]).all()


def test_coupling_jacobian_has_the_blocks_of_the_lecture():
    """D3-14: identity on the kept part, no dependence on the moved part, diagonal elsewhere."""
    from tests.instances import coupling

    layer = cast(scramble(coupling(5, "half")(nnx.Rngs(0)), jax.random.key(0)), jnp.float64)
    jacobian = jax.jacfwd(layer.forward)(jax.random.normal(jax.random.key(1), (5,)))
    assert jnp.array_equal(jacobian[:3, :3], jnp.eye(3))
    assert jnp.array_equal(jacobian[:3, 3:], jnp.zeros((3, 2)))
    moved = jacobian[3:, 3:]
    assert jnp.array_equal(moved, jnp.diag(jnp.diag(moved)))
    assert (jacobian[3:, :3] != 0).all()


def test_chain_applies_the_last_layer_first():
    double = dgm.Standardize((1,)).with_data_init(jnp.array([[-2.0], [2.0]], jnp.float32))
    shift = dgm.Standardize((1,)).with_data_init(jnp.array([[4.0], [6.0]], jnp.float32))
    chain = dgm.Chain([double, shift])  # double(shift(z)) = 2 (z + 5)
    x = chain.forward(jnp.array([1.0], jnp.float32))
    assert jnp.allclose(x, jnp.array([12.0], jnp.float32))


@pytest.mark.parametrize("scale_fn", ["tanh", "sigmoid", "double_sigmoid"])
def test_scales_are_bounded_at_extreme_outputs(scale_fn):
    raw = jnp.array([-1e4, -50.0, 0.0, 50.0, 1e4], jnp.float32)
    log_scale = dgm.bijectors.scale_fn(scale_fn)(raw)
    assert jnp.isfinite(log_scale).all()
    assert (log_scale <= 2.0).all()
