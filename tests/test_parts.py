"""Every part of every model is used again, saved and loaded; modules go through what flax and JAX do to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.distrax_attribute import DistraxContainer
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.testing import scramble
from tests.models import MODELS, events, log_prob

pytestmark = pytest.mark.usefixtures("x32")


def _made(name: str):
    return scramble(MODELS[name].make(nnx.Rngs(0)), jax.random.key(0))


def _parts(module: nnx.Module) -> list[nnx.Module]:
    """All modules inside; of a stack, whose arrays are those of many layers, one of its single layers."""
    found = []
    inner = vars(module).values()
    if isinstance(module, dgm.Stack):
        inner = module.layers[:1]
    elif isinstance(module, nnx.List):
        inner = list(module)
    for part in inner:
        if isinstance(part, nnx.Module) and not isinstance(part, DistraxContainer):
            found += [part, *_parts(part)]
    return [part for part in found if not isinstance(part, nnx.List | nnx.Dict)]


def _again(part: nnx.Module) -> nnx.Module:
    """Built from the description, with the arrays of ``part``."""
    made = jax.eval_shape(lambda: build(record_of(part), rngs=nnx.Rngs(0)))
    shapes = [leaf.shape for leaf in jax.tree.leaves(made)]
    assert shapes == [leaf.shape for leaf in jax.tree.leaves(part)], type(part).__name__
    return jax.tree.unflatten(jax.tree.structure(made), jax.tree.leaves(part))


@pytest.mark.parametrize("name", MODELS)
def test_every_part_describes_itself(name):
    if "normal as base" in name:
        pytest.skip("distrax keeps methods in it, which cannot be written")
    for part in _parts(_made(name)):
        again = _again(part)
        arrays = dgm.training.partition(part)
        for got, expected in zip(dgm.training.partition(again)[:2], arrays[:2], strict=True):
            assert got.keys() == expected.keys(), type(part).__name__


REUSED = [
    "RealNVP",
    "RealNVP, images",
    "Glow",
    "MAF",
    "PlanarFlow, context",
    "FlowPP",
    "ResidualFlow",
]


@pytest.mark.parametrize("name", REUSED)
@pytest.mark.one_in(3)
def test_a_flow_of_parts_is_saved(name, tmp_path):
    model = _made(name)
    bijector = model.bijector
    parts = list(bijector.layers) if isinstance(bijector, dgm.Chain) else [bijector]
    flow = dgm.Flow(dgm.Chain([dgm.ActNorm(model.event_shape), dgm.Chain(parts)]))
    x = events(MODELS[name], model, (3,))
    dgm.save(tmp_path / "model", flow)
    loaded = dgm.load(tmp_path / "model")
    np.testing.assert_array_equal(
        log_prob(loaded, x, jax.random.key(0)), log_prob(flow, x, jax.random.key(0))
    )


def test_own_couplings_and_distributions_are_saved(tmp_path):
    import functools

    import distrax

    net = functools.partial(dgm.nets.MLP, width=4, rngs=nnx.Rngs(0))
    layer = dgm.Coupling(
        (2,), mask="half", make_conditioner=net, transformer=dgm.bijectors.AffineTransformer("exp")
    )
    base = dgm.distributions.IID(distrax.Laplace(jnp.float32(0.5), jnp.float32(2)), (2,))
    flow = scramble(dgm.Flow(layer, base), jax.random.key(0))
    dgm.save(tmp_path / "model", flow)
    x = jnp.ones((3, 2), jnp.float32)
    np.testing.assert_array_equal(dgm.load(tmp_path / "model").log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize(
    "name",
    ["os.path", "subprocess.Popen", "dgmjax.training.save.save", "dgmjax.distributions.flow.Gone"],
)
def test_only_classes_of_models_are_built(name):
    with pytest.raises(ValueError, match="is no class of this library"):
        build({"class": name, "attributes": {}}, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", MODELS)
def test_state_is_arrays(name):
    """`nnx.update` of a model with its own state, split and merged, cloned, mapped: the same model."""
    model = _made(name)
    expected = jax.tree.leaves(model)
    nnx.update(model, nnx.state(model))
    merged = nnx.merge(*nnx.split(model))
    for same in (model, merged, nnx.clone(model), jax.tree.map(lambda a: a, model)):
        assert jax.tree.structure(same) == jax.tree.structure(model)
        assert all(
            a is b or (a == b).all() for a, b in zip(jax.tree.leaves(same), expected, strict=True)
        )
    double = jax.tree.map(lambda a: a + a, nnx.state(merged))
    nnx.update(merged, double)
    for a, b in zip(jax.tree.leaves(merged), expected, strict=True):
        np.testing.assert_array_equal(a, b + b)
