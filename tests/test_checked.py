"""The run-time checked wrapper: right layers pass unchanged, a broken one is named, also inside a compiled program."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.checked import Checked, checked
from dgmjax.testing import scramble
from tests.rows import BIJECTORS


class Broken(dgm.Bijector):
    """x = exp(s) z, with one mistake for inputs above 1."""

    def __init__(self, mistake: str = "none"):
        self.event_shape = (2,)
        self.mistake = mistake
        self.log_scale = nnx.Param(jnp.array([0.5, -0.3], jnp.float32))

    def forward_and_log_det(self, z):
        log_scale = jnp.broadcast_to(self.log_scale[...], z.shape)
        return z * jnp.exp(log_scale), log_scale.sum(-1)

    def inverse_and_log_det(self, x):
        log_scale, wrong = jnp.broadcast_to(self.log_scale[...], x.shape), x > 1.0
        z, log_det = x * jnp.exp(-log_scale), -log_scale
        if self.mistake == "value":
            z = jnp.where(wrong, 1.1 * z, z)
        if self.mistake == "log-det":
            log_det = jnp.where(wrong, -log_det, log_det)
        if self.mistake == "infinite":
            z = jnp.where(wrong, jnp.full_like(z, jnp.inf), z)
        return z, log_det.sum(-1)


def run(function):
    return chex.chexify(jax.jit(function), async_check=False)


def inverse(layer, x, context=None):
    return layer.inverse_and_log_det(x, context)


def forward(layer, z, context=None):
    return layer.forward_and_log_det(z, context)


GOOD = jnp.array([[0.1, -0.2], [0.9, 0.5], [-3.0, 0.0]], jnp.float32)
BAD = GOOD.at[1, 0].set(2.0)
PATHS = {
    "Broken": lambda layer: layer,
    r"layers\[1\] \(Broken\)": lambda layer: dgm.Chain([dgm.ActNorm((2,)), layer]),
    r"layers\[0\]\.layer \(Broken\)": lambda layer: dgm.Chain([dgm.Stack([layer, layer])]),
    r"layer\.layer \(Broken\)": lambda layer: dgm.Inverse(dgm.Inverse(layer)),
    r"layer \(Broken\)": lambda layer: dgm.Block(layer, (1,)),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_broken_layer_is_named_inside_a_compiled_program(path):
    layer, call = checked(PATHS[path](Broken("value"))), run(inverse)
    shape = (3, *layer.event_shape)
    call(layer, GOOD.reshape(shape))
    message = rf"message: {path}: forward\(inverse\(v\)\) is not v: off by up to 0\.2"
    with pytest.raises(AssertionError, match=message):
        call(layer, BAD.reshape(shape))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("log-det", "Broken: the log-dets of inverse and forward do not cancel: off by up to 1"),
        ("infinite", "Broken: inverse makes a value or log-det that is not finite"),
    ],
)
def test_log_dets_and_finiteness_are_checked_too(mistake, message):
    layer, call = checked(Broken(mistake)), run(inverse)
    call(layer, GOOD)
    with pytest.raises(AssertionError, match=message):
        call(layer, BAD)


def test_the_other_direction_and_bad_inputs_are_told_apart():
    layer, call = checked(Broken("value")), run(forward)
    call(layer, GOOD[:, ::-1] / 2.0)
    with pytest.raises(AssertionError, match=r"Broken: inverse\(forward\(v\)\) is not v"):
        call(layer, BAD)
    with pytest.raises(AssertionError, match="Broken: forward is called with a value that is not"):
        call(layer, BAD.at[0, 0].set(jnp.nan))


def test_vmap_and_gradients_are_checked_where_they_run():
    layer = checked(dgm.Chain([dgm.ActNorm((2,)), Broken("value")]))
    mapped = run(jax.vmap(inverse, in_axes=(None, 0)))
    mapped(layer, GOOD)
    with pytest.raises(AssertionError, match=r"layers\[1\] \(Broken\)"):
        mapped(layer, BAD)
    grad = run(jax.grad(lambda layer, x: inverse(layer, x)[0].sum()))
    grad(layer, GOOD)
    with pytest.raises(AssertionError, match=r"layers\[1\] \(Broken\)"):
        grad(layer, BAD)


class Searched(Broken):
    """Its way back, a loop, has no gradient in reverse mode."""

    def forward_and_log_det(self, z):
        def halve(ends):
            low, high = ends
            middle = 0.5 * (low + high)
            below = super(Searched, self).inverse_and_log_det(middle)[0] < z
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        def wide(ends):
            return (ends[1] - ends[0] > 1e-5).any()

        ends = jnp.full_like(z, -16.0), jnp.full_like(z, 16.0)
        x = jax.lax.while_loop(wide, halve, ends)[0]
        return x, super().forward_and_log_det(z)[1]


def test_the_way_back_needs_no_gradient():
    layer, plain = checked(Searched()), Broken()

    def loss(layer):
        return (layer.inverse_and_log_det(GOOD)[0] ** 2).sum()

    got, expected = run(jax.grad(loss))(layer), jax.grad(loss)(plain)
    chex.assert_trees_all_close(got.layer.log_scale[...], expected.log_scale[...], rtol=1e-6)


def test_errors_of_asynchronous_checks_come_at_the_next_wait():
    call = chex.chexify(jax.jit(inverse))
    call(checked(Broken("value")), BAD)
    with pytest.raises(AssertionError, match="Broken"):
        call.wait_checks()


def test_without_chexify_nothing_passes_unchecked():
    layer = checked(Broken("value"))
    chex.assert_trees_all_equal(layer.inverse_and_log_det(GOOD), Broken().inverse_and_log_det(GOOD))
    with pytest.raises(AssertionError, match=r"Broken: forward\(inverse\(v\)\) is not v"):
        layer.inverse_and_log_det(BAD)
    with pytest.raises(RuntimeError, match="chexify"):
        jax.jit(lambda layer, x: layer.inverse(x))(layer, GOOD)
    with pytest.raises(RuntimeError, match="chexify"):
        checked(dgm.Stack([Broken(), Broken()])).inverse(GOOD)


@pytest.mark.parametrize(
    "name",
    [
        "chain, context",
        "stack, reversible, context",
        "block of couplings, context",
        "autoregressive, jacobi",
    ],
)
@pytest.mark.one_in(2)
def test_right_layers_pass_and_compute_the_same(name):
    instance = BIJECTORS[name]
    layer = scramble(instance.make(nnx.Rngs(0)), jax.random.key(0))
    x = instance.data(jax.random.key(1), (3, *layer.event_shape)).astype(jnp.float32)
    context = None
    if instance.context_shape is not None:
        context = jax.random.normal(jax.random.key(2), (3, *instance.context_shape), jnp.float32)

    def both(layer, x, context):
        def loss(layer):
            z, log_det = layer.inverse_and_log_det(x, context)
            return (z**2).sum() - log_det.sum(), (z, log_det)

        grads, result = jax.grad(loss, has_aux=True)(layer)
        return result, jax.tree.leaves(grads)

    got = run(both)(checked(layer), x, context)
    chex.assert_trees_all_close(got, jax.jit(both)(layer, x, context), rtol=1e-4, atol=1e-4)


def test_the_tolerance_decides():
    layer = Broken("value")
    wide = dgm.testing.Tolerance(round_trip=0.2, log_det=0.0)
    chex.assert_trees_all_equal(checked(layer, wide).inverse(BAD), layer.inverse(BAD))
    narrow = dgm.testing.Tolerance(round_trip=0.01, log_det=0.0)
    with pytest.raises(AssertionError, match="tolerance 0.01"):
        checked(layer, narrow).inverse(BAD)


def test_layers_that_learn_from_data_stay_checked():
    chain = dgm.Chain([dgm.BatchNorm((2,)), Broken(), dgm.ActNorm((2,))])
    x = GOOD + 10.0
    z, log_det, new = checked(chain).with_data_init(x).inverse_and_update(x)
    expected_z, expected_log_det, expected = chain.with_data_init(x).inverse_and_update(x)
    chex.assert_trees_all_equal((z, log_det), (expected_z, expected_log_det))
    chex.assert_trees_all_equal(jax.tree.leaves(new), jax.tree.leaves(expected))
    assert checked(chain).depends_on_data
    assert [type(layer) for layer in new.layers] == [Checked] * 3
    with pytest.raises(
        AssertionError, match=r"layers\[0\] \(BatchNorm\): inverse_and_update meets"
    ):
        new.inverse_and_update(x.at[0, 0].set(jnp.nan))
    broken = checked(dgm.Chain([dgm.BatchNorm((2,)), Broken("value")]))
    with pytest.raises(
        AssertionError, match=r"layers\[1\] \(Broken\): forward\(inverse\(v\)\) is not v"
    ):
        broken.inverse_and_update(x)


def test_dropout_is_undone_with_the_same_key():
    layer = scramble(BIJECTORS["coupling, half mask"].make(nnx.Rngs(0)), jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, 5), jnp.float32)
    key = jax.random.key(2)
    z, log_det = checked(layer).inverse_and_log_det(x, key=key)
    chex.assert_trees_all_equal((z, log_det), layer.inverse_and_log_det(x, key=key))
    assert not np.array_equal(z, layer.inverse(x))


def test_a_checked_layer_is_not_checked_twice():
    once = checked(dgm.Chain([Broken(), dgm.ActNorm((2,))]))
    assert jax.tree.structure(checked(once)) == jax.tree.structure(once)
