"""Data-dependent starts happen once: models remember that they were set, through everything that is done to them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.layers import forget_data_init
from dgmjax.testing import cast
from tests.rows import BIJECTORS
from tests.test_laws import NAMES, build, inputs

SEED = jax.random.key(0)


def same(a, b) -> bool:
    chex.assert_trees_all_equal_structs(a, b)
    return all(map(jnp.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.one_in(3)
def test_a_second_start_changes_nothing_and_a_first_one_does(name):
    instance = BIJECTORS[name]
    layer = forget_data_init(build(instance, 2, jnp.float64))
    x, context = inputs(instance, layer, (16,), 6, jnp.float64)
    other = jnp.roll(x, 1, axis=-1) ** 2 if layer.depends_on_data else x
    if isinstance(layer, dgm.HistogramGaussianize):
        other = x[:3]
    once = layer.with_data_init(x, context)
    assert same(once.with_data_init(other, context), once)
    assert same(forget_data_init(once).with_data_init(x, context), once)
    assert same(layer, once) is not layer.depends_on_data
    if layer.depends_on_data:
        fresh = layer.with_data_init(other, context)
        assert not same(forget_data_init(fresh), forget_data_init(once))


IMAGES = np.random.RandomState(0).randint(0, 17, (60, 4, 4, 1)).astype(np.uint8)
ROWS = (3.0 + 5.0 * np.random.RandomState(1).normal(size=(60, 4))).astype(np.float32)


def glow(**options) -> dgm.Flow:
    return dgm.Glow((4, 4, 1), levels=1, depth=1, width=4, rngs=nnx.Rngs(0), **options)


def real_nvp(preprocess) -> dgm.Flow:
    return dgm.RealNVP((4,), depth=2, width=4, preprocess=preprocess, rngs=nnx.Rngs(0))


@dgm.recorded
class Centre(dgm.Bijector):
    """A layer as `docs/extending.md` has it; nothing says that it remembers."""

    def __init__(self, event_shape):
        self.event_shape = tuple(event_shape)
        self.shift = nnx.Param(jnp.zeros(self.event_shape, jnp.float32))

    def forward_and_log_det(self, z):
        return z + jnp.broadcast_to(self.shift[...], z.shape), jnp.zeros(z.shape[:-1], z.dtype)

    def inverse_and_log_det(self, x):
        return x - jnp.broadcast_to(self.shift[...], x.shape), jnp.zeros(x.shape[:-1], x.dtype)

    def with_data_init(self, x, context=None):
        new = nnx.clone(self)
        new.shift[...] = x.mean(0)
        return new


class Net(nnx.Module):
    """A conditioner of a user with a data-dependent start and no memory: its coupling remembers for it."""

    def __init__(self, in_shape, out_channels, *, context_size):
        self.shift = nnx.Param(jnp.zeros(in_shape[-1], jnp.float32))
        self.kernel = nnx.Param(jnp.full((in_shape[-1], out_channels), 0.1, jnp.float32))

    def __call__(self, x, context=None, *, key=None):
        return (x - jnp.broadcast_to(self.shift[...], x.shape)) @ self.kernel[...]

    def with_data_init(self, x, context=None):
        new = nnx.clone(self)
        new.shift[...] = x.mean((0, 1, 2))
        return new


def with_own_net() -> dgm.Flow:
    coupling = dgm.ImageCoupling(
        (4, 4, 1), mask="checkerboard", make_conditioner=Net,
        transformer=dgm.bijectors.AffineTransformer(),
    )  # fmt: skip
    return dgm.Flow(dgm.Stack([coupling, coupling]))


MODELS = {
    "glow": (lambda: dgm.Dequantized(glow(principal=True), 17), IMAGES),
    "standardized": (lambda: real_nvp(dgm.Standardize((4,))), ROWS),
    "histogram": (
        lambda: dgm.Dequantized(real_nvp(dgm.HistogramGaussianize((4,), 17)), 17),
        IMAGES.reshape(60, -1)[:, :4],
    ),
    "own layer": (lambda: dgm.Flow(dgm.Chain([Centre((4,)), dgm.ActNorm((4,))])), ROWS),
    "own network": (lambda: with_own_net(), IMAGES.astype(np.float32)),
    "pixel network": (
        lambda: dgm.PixelCNNpp(
            (4, 4, 1), 17, resolutions=1, depth=1, width=4, num_components=2, rngs=nnx.Rngs(0)
        ),
        IMAGES,
    ),
    "prior": (
        lambda: dgm.VAE(
            (4,), latent_dim=2, width=8, depth=1, likelihood="discretized_logistic", num_levels=17,
            prior=dgm.priors.VampPrior((4,), 3, num_levels=17, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0),
        ),
        IMAGES.reshape(60, -1)[:, :4],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.one_in(2)
def test_a_second_fit_goes_on_from_where_the_first_one_ended(name, x32, tmp_path):
    make, x = MODELS[name]
    options = {"seed": SEED, "batch_size": 16, "eval_every": 10}
    first = dgm.fit(make(), x[:30], steps=4, learning_rate=1e-2, **options).model
    before = dgm.training.partition(first)[0]
    if name != "own network":
        dgm.save(tmp_path / "model", first)
        first = dgm.load(tmp_path / "model")
    again = dgm.fit(first, x[30:], steps=1, learning_rate=1e-9, **options).model
    chex.assert_trees_all_close(dgm.training.partition(again)[0], before, atol=1e-7)
    fixed = dgm.training.partition(again)[1]
    chex.assert_trees_all_equal(fixed, dgm.training.partition(first)[1])
    anew = dgm.fit(forget_data_init(first), x[30:], steps=1, learning_rate=1e-9, **options).model
    assert not same(forget_data_init(anew), forget_data_init(again))


def test_of_a_chain_of_a_trained_and_a_fresh_layer_the_fresh_one_is_set():
    x = jnp.asarray(ROWS)
    trained = dgm.Stack([dgm.ActNorm((4,)), dgm.ActNorm((4,))]).with_data_init(x)
    x = 2 * x + 1
    for chain in (
        dgm.Chain([trained, dgm.ActNorm((4,))]),
        dgm.Chain([dgm.Chain([trained]), dgm.Block(dgm.ActNorm((4,)), (1,))][:1] + [dgm.ActNorm((4,))]),
        dgm.Stack([*trained.layers, dgm.ActNorm((4,))]),
    ):  # fmt: skip
        for start in (
            chain.with_data_init,
            jax.jit(lambda x, chain=chain: chain.with_data_init(x)),
        ):
            new = start(x)
            z = new.inverse(x)
            np.testing.assert_allclose([z.mean(0), z.std(0)], [[0.0] * 4, [1.0] * 4], atol=1e-5)
            layers = new.layers[:-1]
            layers = layers[0].layers if len(layers) == 1 else layers
            layers = layers[0].layers if isinstance(layers[0], dgm.Stack) else layers
            assert all(map(same, layers, trained.layers))


def test_the_memory_goes_wherever_the_model_goes(x32):
    x = jnp.asarray(IMAGES, jnp.float32)
    model = glow().with_data_init(x)
    stays = {
        "jit": jax.jit(lambda m: m)(model),
        "split and merge": nnx.merge(*nnx.split(model)),
        "parts by name": dgm.training.partition(model)[2](*dgm.training.partition(model)[:2]),
        "update": nnx.clone(glow()),
        "traced": model,
    }
    nnx.update(stays["update"].bijector, nnx.state(model.bijector))
    for name, moved in stays.items():
        start = (
            jax.jit(type(moved).with_data_init) if name == "traced" else type(moved).with_data_init
        )
        assert same(start(moved, 3 * x - 7), model), name
    half = cast(model, jnp.bfloat16)
    assert same(half.with_data_init((3 * x - 7).astype(jnp.bfloat16)), half)
    gradient = jax.grad(lambda m: m.log_prob(x).mean())(model)  # of the whole module
    chex.assert_tree_all_finite(gradient)


@pytest.mark.parametrize("how", ["without a start from data", "on a density"])
def test_a_model_that_has_been_trained_is_not_set_from_data_later(how, x32):
    model = dgm.Flow(dgm.ActNorm((4,)))
    if how == "on a density":
        trained = dgm.fit_density(model, lambda x: -(x**2).sum(), seed=SEED, steps=2).model
    else:
        trained = dgm.fit(model, ROWS, seed=SEED, steps=2, init_rows=0).model
    assert same(trained.with_data_init(jnp.asarray(ROWS)), trained)


def test_models_saved_before_they_remembered_load_as_initialised(x32, tmp_path):
    import json
    import shutil

    import orbax.checkpoint as ocp

    model = real_nvp(dgm.Standardize((4,))).with_data_init(jnp.asarray(ROWS))
    path = tmp_path / "model"
    dgm.save(path, model)
    params, fixed, _ = dgm.training.partition(model)
    arrays = {n: a for n, a in (params | fixed).items() if not n.endswith("data_initialised")}
    record = json.loads((path / "model.json").read_text())
    record["arrays"] = {name: record["arrays"][name] for name in arrays}
    (path / "model.json").write_text(json.dumps(record))
    shutil.rmtree(path / "arrays")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "arrays", arrays)
    dgm.training.manifest.write_manifest(path)
    assert same(dgm.load(path), model)


class Marks(dgm.Bijector):
    """The identity, which remembers the context of its start."""

    depends_on_data = True

    def __init__(self):
        self.event_shape = (2,)
        self.context_shape = (1,)
        self.mark = nnx.data(jnp.zeros(()))

    def forward_and_log_det(self, z, context=None):
        return z, jnp.zeros(z.shape[:-1])

    inverse_and_log_det = forward_and_log_det

    def with_data_init(self, x, context=None):
        new = nnx.clone(self)
        new.mark = context.sum()
        return new


def test_every_layer_of_a_chain_starts_from_the_context_too():
    chain = dgm.Chain([Marks(), dgm.Chain([Marks()])])
    made = chain.with_data_init(jnp.zeros((3, 2)), jnp.array([[1.0], [2.0], [4.0]]))
    assert float(made.layers[0].mark) == 7.0
    assert float(made.layers[1].layers[0].mark) == 7.0
