"""Networks of the user's in the one-line models: called as documented, trained, saved."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.serialization.recorded import record_of
from dgmjax.testing import scramble

KEY = jax.random.key(0)
MLP = functools.partial(dgm.nets.MLP, width=5, depth=1, activation="tanh")


@dgm.recorded
class OwnConv(nnx.Module):
    """Without dropout, so without a parameter ``key``."""

    def __init__(self, in_shape, out_channels, *, context_size=0, width=3, note=None, rngs):
        self.note = note
        self.first = nnx.Conv(in_shape[-1] + context_size, width, (3, 3), rngs=rngs)
        self.last = nnx.Linear(width, out_channels, rngs=rngs)

    def __call__(self, x, context=None):
        if context is not None:
            spread = (*x.shape[:-1], context.shape[-1])
            context = jnp.broadcast_to(context[..., None, None, :], spread)
            x = jnp.concatenate([x, context], axis=-1)
        return self.last(jnp.tanh(self.first(x)))


class Plain(nnx.Module):
    """Takes what is kept and nothing else."""

    def __init__(self, in_size, out_shape, rngs):
        self.out_shape = out_shape
        self.linear = nnx.Linear(in_size, int(np.prod(out_shape)), rngs=rngs)

    def __call__(self, kept):
        return self.linear(kept).reshape(*kept.shape[:-1], *self.out_shape)


# Name: the model, made with a conditioner and a context, and the class of its networks.
MODELS = {
    "RealNVP": (functools.partial(dgm.RealNVP, (4,), depth=3, conditioner=MLP), dgm.nets.MLP),
    "NICE": (functools.partial(dgm.NICE, (2, 2, 1), depth=2, conditioner=MLP), dgm.nets.MLP),
    "NeuralSplineFlow": (
        functools.partial(dgm.NeuralSplineFlow, (3,), depth=2, num_bins=3, conditioner=MLP),
        dgm.nets.MLP,
    ),
    "RealNVP on images": (
        functools.partial(
            dgm.ImageRealNVP, (4, 4, 1), depth=2, conditioner=OwnConv, reversible=True
        ),
        OwnConv,
    ),
    "Glow": (
        functools.partial(
            dgm.Glow,
            (4, 6, 1),
            levels=1,
            depth=2,
            conditioner=functools.partial(OwnConv, width=4),
        ),
        OwnConv,
    ),
    "FlowPP": (
        functools.partial(
            dgm.FlowPP, (4, 4, 1), couplings=(1, 1, 0), num_components=2, conditioner=OwnConv
        ),
        OwnConv,
    ),
}


def networks(model):
    found = [part for _, part in nnx.iter_graph(model) if isinstance(part, dgm.Coupling)]
    found += [part for _, part in nnx.iter_graph(model) if isinstance(part, dgm.ImageCoupling)]
    return [coupling.conditioner for coupling in found]


@pytest.mark.parametrize("context_shape", [None, (2,)], ids=["plain", "conditional"])
@pytest.mark.parametrize("name", MODELS)
def test_an_own_network_is_in_every_coupling_and_is_saved(name, context_shape, tmp_path):
    make, cls = MODELS[name]
    model = make(context_shape=context_shape, rngs=nnx.Rngs(0))
    assert {type(net) for net in networks(model)} == {cls}
    # In float64 XLA takes ten times as long to compile a convolution.
    model = scramble(model, KEY, scale=0.3)
    random = np.random.default_rng(0)
    x = random.normal(size=(3, *model.event_shape)).astype(np.float32)
    context = None if context_shape is None else random.normal(size=(3, 2)).astype(np.float32)
    dgm.save(tmp_path / "model", model)
    loaded = dgm.load(tmp_path / "model")

    @jax.jit
    def calls(model):
        def loss(model):  # with a key, as in training
            return model.log_prob(x, context, key=KEY).sum()

        z, log_det = model.bijector.inverse_and_log_det(x, context)
        back, _ = model.bijector.forward_and_log_det(z, context)
        return model.base.log_prob(z) + log_det, back, jax.grad(loss)(model)

    log_prob, back, gradient = calls(model)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_array_equal(calls(loaded)[0], log_prob)
    for net in networks(gradient):
        for leaf in jax.tree.leaves(net):
            assert np.isfinite(leaf).all()
            assert np.abs(leaf).max() > 0


def test_a_network_of_nothing_but_what_is_kept_trains(x32, tmp_path):
    del x32

    def make_plain(in_size, out_shape, context_size, rngs):
        assert context_size == 0
        return Plain(in_size, out_shape, rngs)

    model = dgm.RealNVP((4,), depth=2, conditioner=make_plain, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32) @ np.diag([1, 2, 3, 4.0])
    fitted = dgm.fit(
        model,
        x,
        seed=KEY,
        steps=20,
        batch_size=32,
        learning_rate=1e-2,
        watch=dgm.Watch(progress=False),
    )
    assert type(networks(fitted.model)[0]) is Plain
    assert fitted.history[-1]["nats"] < dgm.log_likelihood(model, x).negative_log_likelihood
    with pytest.raises(
        TypeError, match=r"RealNVP.conditioner: the callable .*make_plain cannot be"
    ):
        dgm.save(tmp_path / "model", fitted.model)


def test_rngs_of_a_factory_are_its_own_and_are_not_written():
    own = functools.partial(dgm.nets.MLP, width=3, zero_init=False, rngs=nnx.Rngs(7))
    model = dgm.RealNVP((2,), depth=2, conditioner=own, rngs=nnx.Rngs(0))
    record = record_of(model)
    assert record["arguments"]["conditioner"] == {
        "callable": "dgmjax.nets:MLP", "keywords": {"width": 3, "zero_init": False},
    }  # fmt: skip
    other = dgm.RealNVP(
        (2,), depth=2, conditioner=functools.partial(own, rngs=nnx.Rngs(7)), rngs=nnx.Rngs(1)
    )
    for a, b in zip(
        jax.tree.leaves(networks(model)), jax.tree.leaves(networks(other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def real_nvp(conditioner, **options):
    return dgm.RealNVP((4,), depth=2, conditioner=conditioner, rngs=nnx.Rngs(0), **options)


def wrong_shape(in_size, out_shape, context_size, rngs):
    return dgm.nets.MLP(in_size, (3,), width=4, context_size=context_size, rngs=rngs)


ERRORS = {
    "a network": (
        lambda: real_nvp(dgm.nets.MLP(2, (2, 2), width=3, rngs=nnx.Rngs(0))),
        TypeError,
        "RealNVP: conditioner: expected what makes a network.*got MLP; every coupling needs",
    ),
    "a name": (lambda: real_nvp("mlp"), TypeError, "what makes a network.*got mlp"),
    "a factory of two arguments": (
        lambda: real_nvp(lambda in_size, out_shape: None),
        TypeError,
        r"is called as conditioner\(in_size, out_shape, context_size=k\).*does not take that",
    ),
    "another shape": (
        lambda: real_nvp(wrong_shape).log_prob(jnp.zeros((5, 4))),
        ValueError,
        r"MLP: the network of a coupling returned \(5, 3\).*expected \(5, 2, 2\)",
    ),
    "no context": (
        lambda: real_nvp(
            lambda a, b, context_size: Plain(a, b, nnx.Rngs(0)), context_shape=(1,)
        ).log_prob(jnp.zeros((5, 4)), jnp.zeros((5, 1))),
        TypeError,
        "Plain: the coupling is conditional.*takes no second argument",
    ),
    "a function to save": (
        lambda: record_of(real_nvp(lambda *sizes, context_size: Plain(*sizes, nnx.Rngs(0)))),
        TypeError,
        "RealNVP.conditioner: the callable .*lambda.* cannot be saved.*dgmjax.recorded",
    ),
    "a class to save that is not recorded": (
        lambda: record_of(real_nvp(functools.partial(type("Mine", (dgm.nets.MLP,), {}), width=3))),
        TypeError,
        "RealNVP.conditioner: the callable Mine cannot be saved",
    ),
    "an argument that is no JSON": (
        lambda: record_of(
            dgm.Glow(
                (2, 2, 1),
                levels=1,
                depth=1,
                conditioner=functools.partial(OwnConv, note=object()),
                rngs=nnx.Rngs(0),
            )
        ),
        TypeError,
        "Glow.conditioner.note: an argument of type object cannot be saved",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_do(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        call()
