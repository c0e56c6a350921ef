"""What models are made of: every element is moved by the others, and every part is where it belongs."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions.stochastic.max_pool import MaxPool
from dgmjax.distributions.stochastic.surjections import AbsoluteValue
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.nets.pre_activation import PreActivationNet
from dgmjax.nets.static import StaticArray
from dgmjax.testing import cast, scramble

RNGS = functools.partial(nnx.Rngs, 0)
SMALL = {"width": 8, "activation": "tanh"}
FLOWS = {
    "RealNVP": lambda: dgm.RealNVP((4,), depth=2, rngs=RNGS(), **SMALL),
    "RealNVP, half": lambda: dgm.RealNVP((4,), depth=2, mask="half", rngs=RNGS(), **SMALL),
    "RealNVP, parts of two sizes": lambda: dgm.RealNVP(
        (3,), depth=2, mask=[True, False, False], rngs=RNGS(), **SMALL
    ),
    "NICE": lambda: dgm.NICE((4,), depth=2, rngs=RNGS(), **SMALL),
    "NeuralSplineFlow": lambda: dgm.NeuralSplineFlow((4,), depth=2, rngs=RNGS(), **SMALL),
    "MAF": lambda: dgm.MAF((3,), depth=2, rngs=RNGS(), **SMALL),
    "Flow++": lambda: dgm.FlowPP(
        (2, 4, 1), couplings=(2, 0, 0), width=8, depth=1, num_components=2, num_heads=1, rngs=RNGS()
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_every_element_is_moved_by_most_of_the_others(name):
    """A coupling with the mask of the one before it, or a half that never changes, leaves rows of the identity."""
    flow = cast(scramble(FLOWS[name](), jax.random.key(0)), jnp.float64)
    x = 0.3 * jax.random.normal(jax.random.key(1), flow.event_shape, jnp.float64)
    size = x.size
    jacobian = jax.jacobian(flow.bijector.inverse)(x).reshape(size, size)
    assert ((np.abs(jacobian) > 1e-9).sum(1) > size / 2).all()


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("mask", ["half", [True, False, False, False]])
def test_the_depth_is_the_number_of_couplings(depth, mask):
    made = []

    def conditioner(in_size, out_shape, *, context_size):
        made.append(in_size)
        return dgm.nets.MLP(in_size, out_shape, width=4, context_size=context_size, rngs=RNGS())

    dgm.RealNVP((4,), depth=depth, mask=mask, conditioner=conditioner, rngs=RNGS())
    assert len(made) == depth


def parts(model, kind):
    return [module for _, module in nnx.iter_modules(model) if isinstance(module, kind)]


def test_couplings_and_the_last_prior_of_a_conditional_glow_see_the_class():
    glow = dgm.Glow((4, 4, 1), levels=2, depth=1, width=4, context_shape=(3,), rngs=RNGS())
    assert {part.context_shape for part in parts(glow, dgm.ImageCoupling)} == {(3,)}
    assert (3,) in {part.context_shape for part in parts(glow, dgm.ConditionalAffine)}


def test_every_level_of_a_principal_glow_begins_with_principal_axes():
    glow = dgm.Glow((4, 4, 1), levels=2, depth=1, width=4, principal=True, rngs=RNGS())
    inits = [part.init for part in parts(glow, dgm.Invertible1x1Conv)]
    assert sorted(inits) == ["principal", "principal", "random", "random"]


def test_levels_of_three_sizes_come_back():
    """Latents of 32, 16 and 16 numbers: the parts of the vector are those of their levels."""
    levels = [dgm.Squeeze(shape) for shape in ((8, 8, 1), (4, 4, 2), (2, 2, 4))]
    layer = dgm.MultiScale(levels)
    x = jax.random.normal(jax.random.key(0), (8, 8, 1))
    z = layer.inverse(x)
    np.testing.assert_array_equal(layer.forward(z), x)
    assert [part.size for part in layer.split_latents(z)] == [32, 16, 16]


def test_every_place_of_a_block_may_hold_the_maximum():
    layer = MaxPool((2, 2, 1))
    x = layer.decode(jnp.zeros((64, 1, 1, 1)), seed=jax.random.key(0))
    assert set(np.asarray(x.reshape(64, 4).argmax(1)).tolist()) == {0, 1, 2, 3}


def test_signs_have_the_probabilities_of_the_network():
    """With logits log 3 a positive element has probability 3/4, a negative one 1/4."""

    class Logits(nnx.Module):
        def __call__(self, z):
            return jnp.full_like(z, np.log(3.0))

    _, log_prob = AbsoluteValue((1,), Logits()).encode(
        jnp.array([[2.0], [-2.0]]), seed=jax.random.key(0)
    )
    np.testing.assert_allclose(jnp.exp(log_prob), [0.75, 0.25], rtol=1e-6)


def test_a_planar_layer_is_bounded_by_the_slope_of_its_own_nonlinearity():
    layer = scramble(dgm.layers.Planar((2,), h="sigmoid", rngs=RNGS()), jax.random.key(0))
    raw = layer.parameters()
    u = dgm.bijectors.planar_constrain(-5.0 * raw["w"], raw["w"], "sigmoid")
    layer.parameters.base["u"] = nnx.Param(-5.0 * raw["w"])
    z = jnp.array([0.3, -0.2], raw["w"].dtype)
    expected = z + u * jax.nn.sigmoid(raw["w"] @ z + raw["b"])
    np.testing.assert_allclose(layer.forward(z), expected, rtol=1e-5)


def test_a_discriminator_drops_units_in_training():
    gan = dgm.models.GAN((4,), latent_dim=2, spectral_norm=True, dropout=0.3, rngs=RNGS())
    x = jax.random.normal(jax.random.key(0), (8, 4))
    one, other = (
        gan.discriminate_and_update(x, key=key)[0] for key in jax.random.split(jax.random.key(1))
    )
    assert np.abs(one - other).max() > 1e-3


def test_masks_of_a_real_nvp_on_images_come_with_their_complements():
    flow = dgm.ImageRealNVP((4, 4, 1), levels=2, depth=2, width=4, hidden_layers=1, rngs=RNGS())
    masks = {
        (part.event_shape, part.mask.value.tobytes()) for part in parts(flow, dgm.ImageCoupling)
    }
    complements = {(shape, (~np.frombuffer(mask, bool)).tobytes()) for shape, mask in masks}
    assert masks == complements
    assert len(masks) == 3 * 2


def test_widths_of_a_real_nvp_on_images_double_with_the_level():
    widths = []

    class Net(dgm.nets.ResNet):
        def __init__(self, *args, width, **options):
            widths.append(width)
            super().__init__(*args, width=width, **options)

    module = importlib.import_module("dgmjax.models.image_realnvp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ResNet", Net)
        dgm.ImageRealNVP((8, 8, 1), levels=3, depth=2, width=2, hidden_layers=1, rngs=RNGS())
    assert sorted(set(widths)) == [2, 4, 8]


def test_what_leaves_a_level_of_a_real_nvp_is_half_of_a_checkerboard():
    """The squeeze before a split keeps what is diagonal together; the plain one would split rows."""
    flow = dgm.ImageRealNVP((4, 4, 1), levels=2, depth=2, width=4, hidden_layers=1, rngs=RNGS())
    last = parts(flow, dgm.MultiScale)[0].levels[0].layers[-1]
    pixels = last.inverse(jnp.arange(16.0).reshape(4, 4, 1))
    stays = np.asarray(pixels[..., :2]).ravel().astype(int)
    assert {(pixel // 4 + pixel % 4) % 2 for pixel in stays.tolist()} in ({0}, {1})


def test_the_prior_of_nice_is_logistic():
    nice = dgm.NICE((4,), depth=2, width=4, rngs=RNGS())
    x = jnp.zeros((4,), jnp.float32)
    np.testing.assert_allclose(nice.log_prob(x), -4 * np.log(4.0), rtol=1e-6)


@pytest.mark.parametrize(("fast", "turned"), [("density", True), ("sampling", False)])
@pytest.mark.parametrize("cls", [dgm.PlanarFlow, dgm.RadialFlow])
def test_the_fast_direction_of_ridge_flows_is_the_one_of_the_name(cls, fast, turned):
    flow = cls((2,), depth=2, fast=fast, rngs=RNGS())
    assert isinstance(flow.bijector.layers[-1], dgm.Inverse) is turned


def test_a_residual_flow_begins_with_its_preprocessing():
    start = dgm.Standardize((2,))
    flow = dgm.ResidualFlow((2,), depth=1, width=4, preprocess=start, rngs=RNGS())
    assert isinstance(flow.bijector.layers[0], dgm.Standardize)


@pytest.mark.parametrize("size", [3, 4])
def test_every_latent_of_a_coupling_posterior_moves(size):
    posterior = dgm.posteriors.posterior("coupling", size, depth=2, width=8, rngs=RNGS())
    layer = cast(scramble(posterior, jax.random.key(0)), jnp.float64).bijector
    features = jnp.zeros(layer.context_shape or (), jnp.float64)
    z = 0.3 * jax.random.normal(jax.random.key(1), (size,), jnp.float64)
    jacobian = jax.jacobian(lambda z: layer.forward(z, features))(z)
    assert ((np.abs(jacobian) > 1e-9).sum(1) > 1).all()


def test_drawn_pixels_have_their_own_log_density():
    model = dgm.PixelCNNpp(
        (2, 3, 1), 4, resolutions=1, depth=1, width=4, num_components=2, rngs=RNGS()
    )
    model = scramble(model, jax.random.key(0))
    y, log_prob = model.sample_and_log_prob(seed=jax.random.key(1), sample_shape=(3,))
    np.testing.assert_allclose(log_prob, model.log_prob(y), rtol=1e-5)
    assert len(set(np.asarray(log_prob).tolist())) == 3


def test_units_are_dropped_where_a_classifier_is_trained():
    net = dgm.IRevNet(
        (4, 4, 2), 3, blocks=(1,), strides=(1,), kind="basic", dropout=0.3, rngs=RNGS()
    )
    x = jax.random.randint(jax.random.key(0), (4, 4, 4, 2), 0, 256).astype(jnp.uint8)
    x = x if net.num_levels else x.astype(jnp.float32)
    one, other = (net.body_and_update(x, key=k)[0] for k in jax.random.split(jax.random.key(1)))
    assert np.abs(one - other).max() > 1e-4


def test_structure_is_equal_by_its_values():
    one, same, other = (StaticArray(np.array(v)) for v in ([1, 2], [1, 2], [1, 3]))
    assert one == same
    assert one != other


def test_a_sylvester_layer_is_bounded_by_the_slope_of_its_own_nonlinearity():
    layer = dgm.layers.Sylvester((2,), h="sigmoid", rngs=RNGS())
    matrix = jnp.array([[-3.0, 0.2], [0.1, -2.0]], jnp.float32)
    layer.parameters.base["matrix"] = nnx.Param(matrix)
    raw = layer.parameters()
    q = dgm.bijectors.householder_columns(raw["reflections"], 2)
    r1, r2 = dgm.bijectors.sylvester_triangles(matrix, raw["diagonal"], "sigmoid")
    z = jnp.array([0.3, -0.2], jnp.float32)
    expected = z + q @ r1 @ jax.nn.sigmoid(r2 @ q.T @ z + raw["b"])
    np.testing.assert_allclose(layer.forward(z), expected, rtol=1e-4)


def test_a_model_that_stores_its_activations_says_so_where_it_is_saved():
    glow = dgm.Glow(
        (4, 4, 1), levels=1, depth=2, width=4, reversible=True, anchor_every=1, rngs=RNGS()
    )
    stored = dgm.layers.not_reversible(glow)
    assert {(part.reversible, part.anchor_every) for part in parts(stored, dgm.Stack)} == {
        (False, None)
    }
    arguments = record_of(stored)["arguments"]
    assert arguments["reversible"] is False
    assert "anchor_every" not in arguments


def test_what_is_described_by_its_parts_keeps_the_kinds_of_its_arrays():
    layer = dgm.Chain([dgm.BatchNorm((2,))])
    made = build(record_of(layer, by_structure=True), rngs=RNGS())
    kinds = [
        {type(leaf) for _, leaf in nnx.iter_graph(m) if isinstance(leaf, nnx.Variable)}
        for m in (layer, made)
    ]
    assert kinds[0] == kinds[1] == {nnx.Param, nnx.BatchStat}


class Marked(dgm.Density):
    """A density that says what it was given."""

    def __init__(self):
        self.event_shape, self.context_shape, self.num_levels = (2,), (3,), 4
        self.mark = nnx.data(jnp.zeros(()))

    def log_prob(self, value, context=None):
        return context.sum(-1)

    def sample(self, *, seed, sample_shape=(), context=None):
        return jnp.zeros((*context.shape[:-1], 2), jnp.int32)

    def log_prob_and_update(self, value, context=None, *, seed=None, key=None):
        return context.sum(-1) + (0.0 if key is None else 1.0), self

    def with_data_init(self, value, context=None, *, seed=None):
        new = nnx.clone(self)
        new.mark = context.sum()
        return new


def test_a_conditional_model_as_likelihood_passes_everything_on():
    likelihood = dgm.likelihoods.ConditionalModel(Marked())
    x, output = jnp.zeros((4, 2), jnp.int32), jnp.ones((4, 3))
    log_prob, _ = likelihood.log_prob_and_update(x, output, key=jax.random.key(0))
    np.testing.assert_array_equal(log_prob, 4.0)
    log_prob, _ = likelihood.log_prob_and_update(x, output)
    np.testing.assert_array_equal(log_prob, 3.0)
    assert float(likelihood.with_data_init(x, output).model.mark) == 12.0


def test_only_the_first_branch_of_a_classifier_starts_without_an_activation():
    net = dgm.PreActResNet((4, 8, 1), 3, filters=(4, 4, 4), units=(1, 2), rngs=RNGS())
    assert [part.activate_first for part in parts(net, PreActivationNet)].count(False) == 1


def test_pixels_start_from_the_classes_too():
    model = dgm.PixelCNNpp(
        (4, 4, 1),
        4,
        resolutions=1,
        depth=1,
        width=4,
        num_components=2,
        context_shape=(3,),
        rngs=RNGS(),
    )
    x = jax.random.randint(jax.random.key(0), (8, 4, 4, 1), 0, 4)
    of_classes = jnp.eye(3, dtype=jnp.float32)[jnp.arange(8) % 3]
    one, other = (model.with_data_init(x, c) for c in (of_classes, 0.0 * of_classes))
    pairs = zip(*(jax.tree.leaves(nnx.state(m, nnx.Param)) for m in (one, other)), strict=True)
    assert max(float(jnp.abs(a - b).max()) for a, b in pairs) > 0.01
