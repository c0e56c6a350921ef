"""Reversible residual networks: their inverses, gradients, statistics, memory and sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble

close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)


def small(make, dtype=jnp.float64, seed=0, **options):
    return cast(scramble(make(rngs=nnx.Rngs(seed), **options), jax.random.key(seed)), dtype)


def revnet(**options):
    settings = {"filters": (4, 4, 8), "units": (1, 3), "momentum": 0.5}
    return small(functools.partial(dgm.RevNet, (4, 4, 1), 3, **settings), **options)


def irevnet(**options):
    settings = {"blocks": (1, 3), "strides": (1, 2), "pad_to": 4, "squeeze": 2, "dropout": 0.2}
    settings |= {"momentum": 0.5}
    return small(functools.partial(dgm.IRevNet, (4, 4, 1), 3, **settings), **options)


def resnet(**options):
    settings = {"filters": (4, 4, 8), "units": (1, 3), "momentum": 0.5}
    return small(functools.partial(dgm.PreActResNet, (4, 4, 1), 3, **settings), **options)


CLASSIFIERS = {"RevNet": revnet, "IRevNet": irevnet, "PreActResNet": resnet}


def images(num, dtype=jnp.float64, shape=(4, 4, 1)):
    return jax.random.uniform(jax.random.key(9), (num, *shape), dtype)


def statistics(model):
    return jax.tree.leaves(nnx.state(model, nnx.BatchStat))


def test_the_printed_inverse_of_a_revnet_block_is_wrong():
    """L5-03 and E-L5-1: x2 = y2 - G(y1), x1 = y1 - F(x2), where the lecture prints F and G in each other's place."""
    block = small(functools.partial(dgm.RevBlock, (3, 3, 4)))
    f, g = (layer.branch for layer in block.layers)
    x = jax.random.normal(jax.random.key(1), (5, 3, 3, 4))
    x1, x2 = jnp.split(x, 2, axis=-1)
    y = block.inverse(x)
    y1, y2 = jnp.split(y, 2, axis=-1)
    close(y1, x1 + f(x2))
    close(y2, x2 + g(y1))
    np.testing.assert_allclose(block.forward(y), x, rtol=1e-12, atol=1e-12)
    single = cast(block, jnp.float32)
    x_single = x.astype(jnp.float32)
    np.testing.assert_allclose(single.forward(single.inverse(x_single)), x_single, atol=1e-5)
    printed_x2 = y2 - f(y1)
    printed_x1 = y1 - g(printed_x2)
    assert jnp.abs(printed_x2 - x2).max() > 0.1
    assert jnp.abs(printed_x1 - x1).max() > 0.1


@pytest.mark.parametrize("stride", [1, 2])
def test_the_pure_step_is_undone_exactly(stride):
    def branch(x):
        moved = jnp.sin(3.0 * x)
        return moved if stride == 1 else dgm.bijectors.squeeze(moved, order="outer")

    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 6))
    z = dgm.bijectors.halves_inverse(x, branch, stride=stride)
    close(dgm.bijectors.halves_forward(z, branch, stride=stride), x)
    assert z.shape == (2, 4 // stride, 6 // stride, 6 * stride**2)


@pytest.mark.parametrize("name", ["RevNet", pytest.param("IRevNet", marks=pytest.mark.slow)])
def test_reversible_gradients_are_plain_ones_with_batch_statistics_updated_once(name):
    """L5-05 and L5-06, with dropout where there is some: loss, gradients, statistics."""
    x, labels = images(6), jnp.asarray([0, 1, 2, 0, 1, 2])
    keys = jax.random.split(jax.random.key(3), 6)

    @jax.jit
    def gradients(model):
        params, fixed, merge = dgm.training.partition(model)

        def loss(params):
            logits, new = merge(params, fixed).logits_and_update(x, key=keys)
            nats = -jax.nn.log_softmax(logits)[jnp.arange(6), labels].sum()
            return nats, (logits, statistics(new))

        return jax.value_and_grad(loss, has_aux=True)(params)

    outcomes = [gradients(CLASSIFIERS[name](reversible=kind)) for kind in (True, False)]
    jax.tree.map(close, *outcomes)
    (_, (_, got)), grads = outcomes[0]
    assert all(jnp.abs(grad).max() > 0 for grad in grads.values())
    old = statistics(CLASSIFIERS[name]())
    assert all(jnp.abs(after - before).max() > 1e-4 for after, before in zip(got, old, strict=True))


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.one_in(3)
def test_running_statistics_are_averages_of_those_of_batches(name):
    """After many updates on one batch evaluation computes what training does, to the last layer."""
    model, x = CLASSIFIERS[name](), images(6)

    @jax.jit
    def update(model):
        logits, new = model.logits_and_update(x)
        return logits, new

    def steps(model):
        return jax.lax.scan(lambda model, _: update(model)[::-1], model, length=50)

    updated, logits = jax.jit(steps)(model)
    close(jax.jit(lambda model: model.logits(x))(updated), logits[-1])
    np.testing.assert_array_equal(logits[0], logits[-1])  # training does not see them
    assert jnp.abs(jax.jit(lambda model: model.logits(x))(model) - logits[0]).max() > 1e-3
    once = update(model)[1]
    jax.tree.map(  # momentum 0.5: the batch's statistics are 2 once - old
        lambda old, new, end: close(2 * new - old, end),
        statistics(model), statistics(once), statistics(updated),
    )  # fmt: skip


def test_batch_norm_normalizes_and_keeps_its_module():
    norm = dgm.nets.NetBatchNorm(3, momentum=0.75)
    x = 5.0 + 2.0 * jax.random.normal(jax.random.key(0), (4, 50, 3), jnp.float32)
    y, new = norm.apply_and_update(x)
    np.testing.assert_allclose(y.mean((0, 1)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1)), 1.0, atol=1e-3)
    np.testing.assert_array_equal(norm(x), x / np.float32(np.sqrt(1 + 1e-5)))
    np.testing.assert_allclose(new.mean[...], 0.25 * x.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(new.variance[...], 0.75 + 0.25 * x.var((0, 1)), rtol=1e-5)
    half = norm.apply_and_update(x.astype(jnp.bfloat16))[0]
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), y, atol=0.05)
    through_running = jax.grad(lambda x: norm.apply_and_update(x)[1].variance[...].sum())(x)
    np.testing.assert_array_equal(through_running, 0.0)
    with pytest.raises(ValueError, match="at least 2 values a feature, got 1"):
        norm.apply_and_update(x[0, 0])


def test_auxiliary_outputs_of_a_reversible_scan():
    def apply(step, x, shared):
        return x + step * shared, x.sum(), {"before": x}

    def invert(step, x, shared):
        return x - step * shared

    steps, x, shared = jnp.arange(1.0, 7.0), jnp.ones(2), jnp.asarray(2.0)
    for reverse in (False, True):
        for anchor_every in (None, 2):
            scan = functools.partial(
                dgm.numerics.reversible_scan, apply, invert,
                reverse=reverse, anchor_every=anchor_every, has_aux=True,
            )  # fmt: skip
            last, total, aux = jax.jit(scan)(steps, x, shared)
            ordered = steps[::-1] if reverse else steps
            before = 1.0 + 2.0 * (jnp.cumsum(ordered) - ordered)
            before = before[::-1] if reverse else before
            close(last, 43.0 * jnp.ones(2))
            close(total, 2.0 * before.sum())
            close(aux["before"], jnp.stack([before, before], axis=-1))
            grad = jax.jit(jax.grad(lambda s, scan=scan: scan(s, x, shared)[2]["before"].sum()))
            np.testing.assert_array_equal(grad(steps), 0.0)  # carries no gradient


def test_a_flow_batch_norm_cannot_be_rebuilt_and_says_so():
    stack = dgm.Stack([dgm.BatchNorm((3,)) for _ in range(2)], reversible=True)
    x = jnp.ones((4, 3)) * jnp.arange(4.0)[:, None]
    assert cast(stack, jnp.float64).inverse_and_update(x)[0].shape == (4, 3)  # without a gradient

    def loss(x):
        return cast(stack, jnp.float64).inverse_and_update(x)[0].sum()

    with pytest.raises(NotImplementedError, match="latents normalised by the statistics of their"):
        jax.grad(loss)(x)


@pytest.mark.parametrize("combine", ["block", "chain", "stack", "checked"])
@pytest.mark.one_in(2)
def test_combinators_undo_training(combine):
    def block():
        return small(functools.partial(dgm.IRevBlock, (2, 2, 8), dropout=0.3))

    made = {
        "block": lambda: dgm.Block(block(), (3,)),
        "chain": lambda: dgm.Chain([block(), block()]),
        "stack": lambda: dgm.Stack([block(), block()]),
        "checked": lambda: dgm.layers.checked(block()),
    }[combine]()
    x = jax.random.normal(jax.random.key(0), (5, *made.event_shape))
    key = jax.random.key(1)
    z, log_det, new = made.inverse_and_update(x, key=key)
    close(made.forward_in_training(z, key=key), x)
    np.testing.assert_array_equal(log_det, 0.0)
    assert jnp.abs(made.inverse_and_update(x)[0] - z).max() > 1e-3  # dropout
    assert jnp.abs(made.inverse(x) - z).max() > 1e-3  # other statistics
    assert not np.allclose(statistics(made)[0], statistics(new)[0])


def temporary_bytes(model, x):
    """Of the compiled gradient, beyond the gradients of the parameters themselves."""
    params, fixed, merge = dgm.training.partition(model)

    def loss(params):
        return (merge(params, fixed).logits_and_update(x)[0] ** 2).sum()

    compiled = jax.jit(jax.grad(loss)).lower(params).compile()
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves((params, fixed)))
    return compiled.memory_analysis().temp_size_in_bytes - weights


@pytest.mark.slow
def test_memory_of_a_revnet_does_not_grow_with_its_depth():
    """L5-01: from 8 to 64 blocks at most 1.3 times; that of the stored twin grows with the number of blocks."""
    x = images(32, jnp.float32, (8, 8, 1))

    def revnet(blocks, **options):
        return dgm.RevNet(
            (8, 8, 1), 3, filters=(4, 4), units=(blocks,), rngs=nnx.Rngs(0), **options
        )

    shallow, deep = (temporary_bytes(revnet(blocks), x) for blocks in (8, 64))
    assert deep <= 1.3 * shallow
    assert temporary_bytes(revnet(64, reversible=False), x) > 8 * deep


def counted(make):
    model = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (functools.partial(dgm.PreActResNet.of_depth, 32), "0.46"),
        (functools.partial(dgm.RevNet.of_depth, 38), "0.46"),
        (functools.partial(dgm.PreActResNet.of_depth, 110), "1.73"),
        (functools.partial(dgm.RevNet.of_depth, 110), "1.73"),
        (functools.partial(dgm.PreActResNet.of_depth, 164), "1.70"),
        (functools.partial(dgm.RevNet.of_depth, 164), "1.75"),
        pytest.param(dgm.IRevNet.imagenet_injective, "181", marks=pytest.mark.slow),
        pytest.param(dgm.IRevNet.imagenet_bijective, "29", marks=pytest.mark.slow),
    ],
)  # fmt: skip
@pytest.mark.one_in(3)
def test_parameters_are_as_many_as_in_the_papers(make, published):
    """L5-04 and L5-08: table 1 of Gomez et al. and table 1 of Jacobsen et al., in millions, to their digits."""
    digits = len(published.partition(".")[2])
    assert f"{counted(make) / 1e6:.{digits}f}" == published


@pytest.mark.parametrize("pad_to", [None, 6])
@pytest.mark.one_in(2)
def test_final_features_of_an_irevnet_are_the_image(pad_to):
    """L5-07: [0, 1] pixels from the last features, in float32, with fresh weights and with others."""
    fresh = dgm.IRevNet(
        (8, 8, 2), 3, blocks=(3, 3), strides=(2, 2), squeeze=2, pad_to=pad_to, num_levels=17,
        kind="bottleneck" if pad_to is None else "wide_bottleneck", momentum=0.0,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    levels = jax.random.randint(jax.random.key(0), (5, 8, 8, 2), 0, 17)
    pixels = np.asarray(levels, np.float32) / 16

    @jax.jit
    def there_and_back(model):
        z = model.final_features(levels)
        return z, model.invert(z)

    updated = jax.jit(lambda model: model.logits_and_update(levels)[1])
    moved = updated(scramble(fresh, jax.random.key(0)))  # statistics that belong to the weights
    for model, most in ((cast(fresh, jnp.float32), 1e-5), (cast(moved, jnp.float32), 1e-3)):
        z, back = there_and_back(model)
        assert z.shape == (5, 1, 1, 64 * (2 if pad_to is None else pad_to))
        assert back.dtype == jnp.float32
        np.testing.assert_allclose(back, pixels, atol=most)
        assert jnp.abs(z.std() - pixels.std()) > 1e-2  # it did something


def test_zero_channels_do_not_make_an_irevnet_ill_conditioned():
    """No function sees nothing but zeros, whose deviation a normalization would divide by."""
    model = dgm.IRevNet(
        (8, 8, 1), 3, blocks=(3, 2), strides=(1, 2), pad_to=8, momentum=0.0, rngs=nnx.Rngs(0)
    )
    x = images(6, jnp.float32, (8, 8, 1))
    model = jax.jit(lambda model: model.logits_and_update(x)[1])(model)
    first = model.bijector.layers[0].branch.norms[0]
    assert first.variance[...].min() > 1e-4
    back = jax.jit(lambda model: model.invert(model.final_features(x)))(model)
    np.testing.assert_allclose(back, x, atol=1e-3)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.one_in(2)
def test_classifiers_keep_their_contract(name, tmp_path):
    model = CLASSIFIERS[name](dtype=jnp.float32)
    x = images(4, jnp.float32)
    of = jax.jit(lambda model, x: model.logits(x))
    logits = of(model, x)
    assert model.context_shape == (3,)
    assert logits.shape == (4, 3)
    assert logits.dtype == jnp.float32
    assert jax.eval_shape(model.features, x).shape == (4, 64 if name == "IRevNet" else 8)
    predicted = jax.jit(lambda model, x: model.predict(x))(model, x)
    np.testing.assert_array_equal(predicted, logits.argmax(-1))
    np.testing.assert_allclose(of(model, x[None])[0], logits, atol=1e-5)
    new = jax.jit(lambda model, x: model.logits_and_update(x)[1])(model, x)
    dgm.save(tmp_path / "model", new)
    loaded = dgm.load(tmp_path / "model")
    np.testing.assert_array_equal(of(loaded, x), of(new, x))
    with pytest.raises(TypeError, match="num_levels="):
        model.logits(jnp.zeros((2, 4, 4, 1), jnp.int32))
    with pytest.raises(ValueError, match="expected an array of shape"):
        model.logits(x[:, :2])


def test_the_loss_of_classifiers():
    class Fixed(nnx.Module):
        context_shape = (3,)

        def logits(self, x):
            return x

        def logits_and_update(self, x, *, key):
            assert key.shape == (3,)
            return 2.0 * x, "updated"

    logits = [[0.0, 1.0, 0.0], [3.0, 0.0, 2.0], [0.0, -9.0, -9.0]]  # only the second is wrong
    batch = {"x": jnp.asarray(logits), "context": jnp.eye(3)[jnp.asarray([1, 2, 0])]}
    keys = jax.random.split(jax.random.key(0), 3)
    nats = [np.log(2 + np.e) - 1, np.log(np.e**3 + 1 + np.e**2) - 2, np.log(1 + 2 * np.exp(-9.0))]
    loss, metrics = dgm.objectives.classification_errors(Fixed(), batch, keys)
    close(loss, np.mean(nats))
    close(metrics["nats"], (np.sum(nats), 3))
    close(metrics["error"], (1, 3))
    loss, _, new = dgm.objectives.cross_entropy(Fixed(), batch, keys)
    assert new == "updated"
    assert loss != np.mean(nats)
    with pytest.raises(ValueError, match="holds no labels"):
        dgm.objectives.classification_errors(Fixed(), {"x": batch["x"]}, keys)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: dgm.IRevBlock((4, 4, 3), rngs=r), "an even c"),
        (lambda r: dgm.IRevBlock((3, 4, 2), stride=2, rngs=r), "does not divide the sides"),
        (lambda r: dgm.RevNet((4, 4, 1), 3, filters=(4, 5), units=(1,), rngs=r), "in halves"),
        (lambda r: dgm.RevNet((7, 7, 1), 3, rngs=r), "sides divisible by 4"),
        (lambda r: dgm.RevNet.of_depth(50, rngs=r), "expected one of .38, 110, 164., got 50"),
        (lambda r: dgm.IRevNet((4, 4, 3), 3, pad_to=2, rngs=r), "pad_to of at least 3"),
        (lambda r: dgm.PreActResNet((4, 4, 1), 1, rngs=r), "at least 2 classes"),
        (lambda r: dgm.nets.PreActivationNet(4, 4, kind="big", rngs=r), "kind: expected one of"),
    ],
)  # fmt: skip
def test_wrong_settings_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make(nnx.Rngs(0))
