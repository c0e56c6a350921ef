"""Without running statistics a likelihood as in training is `log_prob`, with the same noise, dropout and model."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions.conditional import ConditionalGaussian
from dgmjax.distributions.stochastic.encoder_decoder import EncoderDecoder
from dgmjax.distributions.stochastic.flow import StochasticFlow
from dgmjax.distributions.stochastic.surjections import Augment, Slice
from dgmjax.testing import cast, scramble
from tests.instances import coupling

LEVELS = 5
X = np.random.RandomState(0).normal(size=(6, 3))
Y = np.random.RandomState(1).randint(0, LEVELS, (6, 3))


def flow(size: int = 3, context: int | None = None, base: dgm.Flow | None = None) -> dgm.Flow:
    """A coupling with dropout."""
    context_shape = None if context is None else (context,)
    return dgm.Flow(coupling(size, "half", context_shape=context_shape)(nnx.Rngs(0)), base)


def gaussian(event: int, context: int) -> ConditionalGaussian:
    net = dgm.nets.MLP(context, (event, 2), width=4, dropout=0.3, rngs=nnx.Rngs(0))
    return ConditionalGaussian((event,), (context,), net)


def noise() -> dgm.VariationalDequantization:
    layers = [dgm.Elementwise(dgm.SigmoidTransformer(), (3,)), flow(3, 3).bijector]
    return dgm.VariationalDequantization(dgm.Flow(dgm.Chain(layers)), LEVELS)


# A model, its data, and whether it draws noise.
MODELS = {
    "flow over a flow": lambda: (flow(base=flow()), X, False),
    "dequantized": lambda: (
        dgm.Dequantized(flow(), LEVELS, dgm.LogitNormalDequantization((3,))),
        Y,
        True,
    ),
    "dropout in the noise alone": lambda: (
        dgm.Dequantized(dgm.Flow(dgm.DiagonalLinear((3,))), LEVELS, noise()),
        Y,
        True,
    ),
    "slice": lambda: (StochasticFlow([Slice((3,), 1, flow(2, 1))], None), X, False),
    "augment": lambda: (StochasticFlow([Augment((3,), 2, gaussian(2, 3))], flow(5)), X, True),
    "encoder and decoder": lambda: (
        StochasticFlow([EncoderDecoder(gaussian(2, 3), flow(3, 2))]),
        X,
        True,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_likelihood_as_in_training_is_the_likelihood(name):
    model, x, is_noisy = MODELS[name]()
    model = cast(scramble(model, jax.random.key(0)), jnp.float64)

    @jax.jit
    def both(model, x, seed, key):
        options = {"seed": seed} if is_noisy else {}
        value, new = model.log_prob_and_update(x, **options, key=key)
        others = [model.log_prob(x, **options, key=key), model.log_prob(x, **options)]
        return value, new, *others

    value, new, dropped, plain = both(model, x, jax.random.key(1), jax.random.key(2))
    np.testing.assert_allclose(value, dropped, rtol=1e-12)
    assert (abs(dropped - plain) > 1e-6).any()
    chex.assert_trees_all_equal(new, model)


def test_layers_of_a_chain_draw_noise_of_their_own():
    both = dgm.distributions.StochasticChain(
        [Augment((1,), 1, dgm.distributions.standard_normal((1,))),
         Augment((2,), 1, dgm.distributions.standard_normal((1,)))]
    )  # fmt: skip
    z, _ = both.encode(jnp.zeros((50, 1), jnp.float32), seed=jax.random.key(0))
    assert abs(np.corrcoef(z[:, 1], z[:, 2])[0, 1]) < 0.5


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_temperature_of_a_stochastic_flow_scales_its_latents(temperature):
    layer = dgm.DiagonalLinear((2,))
    flow = StochasticFlow([layer])
    options = {"seed": jax.random.key(0), "sample_shape": (3,)}
    np.testing.assert_allclose(
        flow.sample(**options, temperature=temperature),
        temperature * flow.sample(**options),
        rtol=1e-6,
    )
