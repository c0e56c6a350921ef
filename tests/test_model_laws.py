"""The laws of models: every row of the table meets them in each run, with weights away from where they start.

In float32: in float64 XLA's CPU backend takes ten times as long to compile a convolution.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics.prng import example_keys
from dgmjax.testing import scramble
from tests.dropout_keys import dropout_keys
from tests.models import MODELS, events, is_conditional, log_prob

pytestmark = pytest.mark.usefixtures("x32")
ROWS, TURNED = 3, np.array([1, 2, 0])
close = functools.partial(np.testing.assert_allclose, rtol=3e-4, atol=3e-4)


def rows_of(kind):
    names = [name for name, row in MODELS.items() if row.kind == kind]
    return pytest.mark.parametrize("name", names)


with_classes = pytest.mark.parametrize(
    "name", [name for name, row in MODELS.items() if row.classes]
)


@functools.cache
def made(name):
    return scramble(MODELS[name].make(nnx.Rngs(0)), jax.random.key(0))


def inputs(name):
    """Events, seeds, and a class a row or None."""
    model, classes = made(name), None
    assert is_conditional(model) == MODELS[name].classes
    if MODELS[name].classes:
        classes = np.eye(*model.context_shape, dtype=np.float32)[[0, 1, 2]]
    return events(MODELS[name], model, (ROWS,)), example_keys(jax.random.key(1), ROWS), classes


def taken(tree, rows):
    return jax.tree.map(lambda leaf: leaf[rows], tree)


@jax.jit
def program(model, x, seeds, classes):
    """Outputs of the model for each row, and the gradients of a sum for all parameters."""
    params, fixed, merge = dgm.training.partition(model)

    def total(params):
        model = merge(params, fixed)
        values = judged = log_prob(model, x, seeds, classes)
        if isinstance(model, dgm.GAN):  # both networks
            judged = model.discriminate(model.generate(jnp.eye(ROWS, model.latent_dim)))
        return jnp.sin(judged).sum() + judged.sum(), values

    gradients, values = jax.grad(total, has_aux=True)(params)
    return values, gradients


def promotion(name):
    """Promotion of ranks, which distrax relies on."""
    return jax.numpy_rank_promotion("allow" if "base" in name else "raise")


def evaluate(name, x, seeds, classes):
    with promotion(name):
        return jax.device_get(program(made(name), x, seeds, classes))


@functools.cache
def plain(name):
    return evaluate(name, *inputs(name))


@pytest.mark.parametrize("name", MODELS)
def test_no_parameter_is_idle(name):
    """A context, a branch or a layer that is left out leaves gradients of 0."""
    for path, gradient in plain(name)[1].items():
        assert np.isfinite(gradient).all(), path
        assert np.abs(gradient).max() > 0, path


@pytest.mark.parametrize("name", MODELS)
def test_rows_do_not_see_each_other(name):
    """In another order and among copies of itself an event, with its seed and class, has what it has."""
    values = plain(name)[0]
    assert values.shape[0] == ROWS
    assert np.abs(values[0] - values[1]).max() > 1e-4
    for rows in (TURNED, np.ones(ROWS, int)):
        close(evaluate(name, *taken(inputs(name), rows))[0], values[rows])


@with_classes
def test_another_class_has_another_density(name):
    x, seeds, classes = inputs(name)
    others = evaluate(name, x, seeds, classes[TURNED])[0]
    assert (np.abs(others - plain(name)[0]) > 1e-3).all()


# Hidden layers that drop units: couplings or networks times those of each.
SITES = {
    "RealNVP": 2 * 2,
    "RealNVP, images": 2 + 2 + 3,  # squares and channels, then squares and one more
    "NeuralSplineFlow": 3 * 2,
    "MAF": 2 * 2,
    "Glow": 4 * 2,
    "FlowPP": 2 * 2,  # a convolution and an attention
    "VAE, Gaussian": 2 * 2,
    "VAE, convolutions": 2 * 4,  # two blocks a resolution
    "VLAE": 2 * 2 + 1,
    "HierarchicalVAE": 4 * 2,
    "PixelCNNpp": 2 * 5,  # of each stream 2 blocks that go down and 3 that come up
    "PixelCNNpp, gated": 2 * 2,
    "SparseAutoencoder": 2 * 1,
}


@pytest.mark.parametrize("name", SITES)
def test_every_hidden_layer_drops_units_with_a_key_of_its_own(name, monkeypatch):
    x, seeds, classes = inputs(name)
    seen = dropout_keys(
        monkeypatch,
        lambda *args: log_prob(*args, key=jax.random.key(2)),
        made(name), x[0], seeds[0], taken(classes, 0),
    )  # fmt: skip
    assert len(seen) == SITES[name]
    assert len(set(seen)) == len(seen)
    assert {p for _, p in seen} == {0.7}  # kept; 0.3 are dropped


@jax.jit
def dropped(model, x, seeds, classes, keys):
    return log_prob(model, x, seeds, classes, keys)


@pytest.mark.parametrize("name", SITES)
def test_an_example_drops_its_own_units(name):
    given = (*inputs(name), example_keys(jax.random.key(3), ROWS))
    values = np.asarray(dropped(made(name), *given))
    close(dropped(made(name), *taken(given, TURNED)), values[TURNED])
    differences = []
    for seed in range(6):  # of few units two examples may drop the same
        keys = example_keys(jax.random.key(seed), ROWS)
        swapped = keys[np.array([0, 2, 1])]
        values, others = (np.asarray(dropped(made(name), *given[:3], k)) for k in (keys, swapped))
        close(others[0], values[0])
        differences.append(np.abs(others - values)[1:])
    assert np.max(differences) > 1e-5
