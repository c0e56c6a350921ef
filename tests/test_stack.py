"""A stack is a chain, for the compile time and, reversibly, the memory of one layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from tests.rows.composition import pair

MODES = {"plain": {}, "remat": {"remat": True}, "reversible": {"reversible": True}}


def layers(count: int, context_shape=None, dtype=jnp.float64) -> list[dgm.Bijector]:
    rngs = nnx.Rngs(0)
    made = [pair(4, context_shape, rngs) for _ in range(count)]
    return [
        cast(scramble(layer, jax.random.key(k), scale=0.5), dtype) for k, layer in enumerate(made)
    ]


@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.one_in(2)
def test_a_stack_is_the_chain_of_its_layers_with_the_same_gradients(mode, direction):
    """DESIGN 4.1: float64, 1e-10, for parameters, input and context, with dropout on."""
    parts = layers(3, (2,))
    chain, stack = dgm.Chain(parts), dgm.Stack(parts, **MODES[mode])
    value = jax.random.normal(jax.random.key(1), (5, 4))
    context = jax.random.normal(jax.random.key(2), (5, 2))
    key = jax.random.key(3)

    def loss(bijector, value, context):
        out, log_det = getattr(bijector, direction)(value, context, key=key)
        return (jnp.sin(out).sum() + (log_det**2).sum()), (out, log_det)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    (chain_bar, *inputs_bar), expected = grad(chain, value, context)
    (stack_bar, *stack_inputs_bar), got = grad(stack, value, context)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
    jax.tree.map(close, got, expected)
    jax.tree.map(close, stack_inputs_bar, inputs_bar)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chain_bar.layers)
    jax.tree.map(close, jax.tree.leaves(stack_bar.layer), jax.tree.leaves(stacked))


def _compiled_gradient(bijector: dgm.Bijector, x: jax.Array):
    def loss(bijector):
        z, log_det = bijector.inverse_and_log_det(x)
        return (z**2).sum() - log_det.sum()

    return jax.jit(jax.grad(loss)).lower(bijector)


def _activations(count: int, **options) -> int:
    """Temporary bytes of a gradient beyond the copy of the stacked parameters' gradients."""
    stack = dgm.Stack(layers(count, dtype=jnp.float32), **options)
    x = jnp.ones((512, 4), jnp.float32)
    compiled = _compiled_gradient(stack, x).compile()
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(stack))
    return compiled.memory_analysis().temp_size_in_bytes - weights


def test_reversible_memory_does_not_grow_with_the_depth():
    shallow, deep = _activations(4, reversible=True), _activations(32, reversible=True)
    assert deep <= 1.3 * shallow
    assert _activations(32) > 4 * deep  # what plain differentiation stores


def test_the_program_does_not_grow_with_the_depth():
    sizes = [
        len(_compiled_gradient(dgm.Stack(layers(n)), jnp.ones((8, 4))).as_text().splitlines())
        for n in (2, 16)
    ]
    assert sizes[0] == sizes[1]


def test_data_dependent_layers_are_initialized_one_after_another():
    rngs = nnx.Rngs(0)

    def steps():
        return [dgm.Chain([dgm.ActNorm((4,)), dgm.PLULinear((4,), rngs=rngs)]) for _ in range(3)]

    parts = steps()
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (64, 4), jnp.float32)
    chain, stack = (made.with_data_init(x) for made in (dgm.Chain(parts), dgm.Stack(parts)))
    assert stack.depends_on_data
    z, log_det = stack.inverse_and_log_det(x)
    expected, expected_log_det = chain.inverse_and_log_det(x)
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-5)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(dgm.Stack(parts).inverse(x), expected, rtol=1e-2)


@pytest.mark.parametrize("combine", [dgm.Chain, dgm.Stack])
def test_batch_statistics_pass_through_as_returned_state(combine):
    parts = [dgm.BatchNorm((3,), momentum=0.5) for _ in range(2)]
    bijector = combine(parts)
    x = 5.0 + jax.random.normal(jax.random.key(0), (32, 3), jnp.float32)
    z, log_det, new = bijector.inverse_and_update(x)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-5)
    first, second = new.layers
    np.testing.assert_allclose(first.mean, 0.5 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(second.mean, 0.0, atol=1e-5)
    np.testing.assert_array_equal(bijector.layers[0].mean, 0.0)
    assert log_det.shape == (32,)


def test_a_block_passes_batch_statistics_on():
    block = dgm.Block(dgm.BatchNorm((3,), momentum=0.5), (4,))
    x = 5.0 + jax.random.normal(jax.random.key(0), (8, 4, 3), jnp.float32)
    z, log_det, new = block.inverse_and_update(x)
    np.testing.assert_allclose(z.mean((0, 1)), 0.0, atol=1e-5)
    np.testing.assert_allclose(new.layer.mean, 0.5 * x.mean((0, 1)), rtol=1e-5)
    assert log_det.shape == (8,)


def test_parts_that_change_places_are_masks_that_alternate():
    """The form in which the models stack equal couplings, against alternating masks and the same networks."""
    nets = [dgm.nets.MLP(2, (2, 2), width=8, activation="tanh", rngs=nnx.Rngs(k)) for k in range(4)]
    nets = [cast(scramble(net, jax.random.key(k)), jnp.float64) for k, net in enumerate(nets)]
    mask = np.array([True, False, True, False])

    def coupling(net, mask, **options):
        return dgm.Coupling(
            (4,),
            mask=mask,
            make_conditioner=lambda *_, **__: net,
            transformer=dgm.bijectors.AffineTransformer(),
            **options,
        )

    stack = dgm.Stack([coupling(net, mask, swap=True) for net in nets])
    chain = dgm.Chain([coupling(net, mask ^ bool(k % 2)) for k, net in enumerate(nets)])
    x = jax.random.normal(jax.random.key(9), (6, 4))
    z, log_det = stack.inverse_and_log_det(x)
    expected, expected_log_det = chain.inverse_and_log_det(x)
    np.testing.assert_allclose(z, expected, rtol=1e-12)
    np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-12)
    with pytest.raises(ValueError, match="swap needs parts of one size, got 1 kept and 3 moved"):
        coupling(nets[0], [True, False, False, False], swap=True)


def test_a_layer_sees_what_its_neighbours_left():
    """D3-11 and E-D3-2: log-determinants belong to the points where the layers act, not all to the first."""
    parts = layers(2)
    z = jax.random.normal(jax.random.key(1), (6, 4))
    middle, inner = parts[1].forward_and_log_det(z)
    x, outer = parts[0].forward_and_log_det(middle)
    chain = dgm.Chain(parts)
    log_det = chain.forward_log_det(z)
    np.testing.assert_allclose(log_det, inner + outer, rtol=1e-12)
    jacobians = jax.vmap(jax.jacfwd(chain.forward))(z)
    np.testing.assert_allclose(log_det, jnp.linalg.slogdet(jacobians)[1], rtol=1e-8)
    for at in (z, x):  # as printed: every layer evaluated at one point
        printed = sum(part.forward_log_det(at) for part in parts)
        assert (jnp.abs(printed - log_det) > 1e-3).all()


def test_saving_keeps_the_layers(tmp_path):
    rngs = nnx.Rngs(0)
    stack = dgm.Stack([dgm.PLULinear((3,), rngs=rngs) for _ in range(2)], reversible=True)
    dgm.save(tmp_path / "model", stack)
    loaded = dgm.load(tmp_path / "model")
    x = jnp.arange(3, dtype=jnp.float32)
    np.testing.assert_array_equal(loaded.inverse(x), stack.inverse(x))


def test_forward_mode_of_a_reversible_stack_says_what_to_do(tmp_path):
    """And does work for the same layers with activations stored, which are saved as that."""
    reversible = cast(dgm.Flow(dgm.Stack(layers(2), reversible=True)), jnp.float64)
    x = jnp.ones(4, jnp.float64)
    log_prob = lambda flow: lambda x: flow.log_prob(x)  # noqa: E731
    for call in (
        lambda f: jax.jvp(f, (x,), (x,)),
        lambda f: jax.jit(jax.jacfwd(f))(x),
        lambda f: jax.hessian(f)(x),
        lambda f: jax.linearize(f, x)[1](x),
    ):
        with pytest.raises(TypeError, match="reversible=False.*not_reversible"):
            call(log_prob(reversible))
    plain = dgm.layers.not_reversible(reversible)
    hessian = jax.hessian(log_prob(plain))(x)
    np.testing.assert_allclose(hessian, jax.jacrev(jax.grad(log_prob(reversible)))(x), rtol=1e-8)
    dgm.save(tmp_path / "model", plain)
    loaded = dgm.load(tmp_path / "model")
    assert not loaded.bijector.reversible
    np.testing.assert_array_equal(loaded.log_prob(x), plain.log_prob(x))


def test_a_model_is_made_plain_and_saved_as_that(tmp_path):
    glow = dgm.Glow((2, 2, 2), levels=1, depth=2, width=4, anchor_every=1, rngs=nnx.Rngs(0))
    plain = dgm.layers.not_reversible(glow)
    assert jax.tree.leaves(plain)[0] is jax.tree.leaves(glow)[0]
    dgm.save(tmp_path / "model", plain)
    loaded = dgm.load(tmp_path / "model")
    stacks = [p for _, p in nnx.iter_modules(loaded) if isinstance(p, dgm.Stack)]
    assert [(s.reversible, s.anchor_every) for s in stacks] == [(False, None)] * len(stacks) != []


def test_wrong_stacks_say_what_to_do():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="expected at least one layer"):
        dgm.Stack([])
    with pytest.raises(ValueError, match="layer 1 .Permute. and layer 0 .Permute. differ in more"):
        dgm.Stack([dgm.Permute.reverse((3,)), dgm.Permute.shuffle((3,), seed=1)])
    with pytest.raises(ValueError, match="choose reversible or remat"):
        dgm.Stack([dgm.PLULinear((3,), rngs=rngs)], reversible=True, remat=True)
    with pytest.raises(ValueError, match="Block: expected leading axes of positive size"):
        dgm.Block(dgm.PLULinear((3,), rngs=rngs), ())
