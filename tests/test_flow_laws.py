"""The laws of flows: density, draws and temperature of every row agree with one invertible map."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics.prng import example_keys
from dgmjax.testing import scramble
from tests.models import MODELS
from tests.test_model_laws import ROWS, inputs, made, promotion, rows_of

pytestmark = pytest.mark.usefixtures("x32")
every_flow = rows_of("flow")
conditional = [name for name, row in MODELS.items() if row.kind == "flow" and row.classes]
close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-3)
SEEDS = example_keys(jax.random.key(4), ROWS)


def draws(flow, method, classes, **options):
    shape = ROWS if classes is None else ()
    return getattr(flow, method)(seed=SEEDS, sample_shape=shape, context=classes, **options)


@jax.jit
def program(flow, classes, temperature):
    x = draws(flow, "sample", classes, temperature=temperature)
    z, log_det = flow.bijector.inverse_and_log_det(x, classes)

    def jacobian(x, context):
        return jax.jacrev(lambda x: flow.bijector.inverse(x, context).ravel())(x)

    matrix = jax.vmap(jacobian, (0, None if classes is None else 0))(x, classes)
    return {
        "x": x,
        "z": z,
        "log_det": log_det,
        "jacobian": jnp.linalg.slogdet(matrix.reshape(ROWS, z[0].size, z[0].size))[1],
        "base": flow.base.log_prob(z),
        "log_prob": flow.log_prob(x, classes),
        "drawn": draws(flow, "sample_and_log_prob", classes),
    }


@functools.cache
def facts(name, temperature=1.0, *, turned=False):
    classes = inputs(name)[2]
    if turned:
        classes = classes[::-1]
    with promotion(name):
        return jax.device_get(program(made(name), classes, jnp.float32(temperature)))


@every_flow
def test_the_density_is_the_base_with_the_determinant_of_the_jacobian(name):
    found = facts(name)
    close(found["log_det"], found["jacobian"])
    close(found["log_prob"], found["base"] + found["jacobian"])


@every_flow
def test_draws_come_with_their_density(name):
    found = facts(name)
    x, log_prob = found["drawn"]
    close(x, found["x"])
    close(log_prob, found["log_prob"])


@every_flow
def test_temperature_is_a_factor_on_the_latents(name):
    warm = facts(name)["z"]
    assert np.abs(warm).max() > 0.5
    for temperature in (0.25, 0.0):
        close(facts(name, temperature)["z"], temperature * warm)


@pytest.mark.parametrize("name", conditional)
def test_draws_of_another_class_are_others(name):
    """The latents are the same: seeds have not changed."""
    one, other = facts(name), facts(name, turned=True)
    moved = np.abs(one["x"] - other["x"]).reshape(ROWS, -1).max(1) > 1e-3
    np.testing.assert_array_equal(moved, (inputs(name)[2] != inputs(name)[2][::-1]).any(-1))
    close(one["z"], other["z"])


class Kept(nnx.Module):
    """A decoder that leaves codes as they are."""

    def __call__(self, z, *, key=None):
        del key
        return z


def _vae(prior=None):
    return dgm.VAE(
        (2,), latent_dim=2, prior=prior, decoder=Kept(), rngs=nnx.Rngs(0), width=4,
        likelihood=dgm.likelihoods.Gaussian((2,), scale=1e-6),
    )  # fmt: skip


LINEAR = {
    "VAE": _vae,
    "VAE, mixture": lambda: _vae(dgm.priors.GaussianMixture(2, 3, rngs=nnx.Rngs(1))),
    "VAE, VampPrior": lambda: _vae(dgm.priors.VampPrior((2,), 3, rngs=nnx.Rngs(1))),
    "VAE, flow": lambda: _vae(dgm.FlowPrior(2, depth=2, width=4, rngs=nnx.Rngs(1))),
    "GAN": lambda: dgm.GAN((2,), latent_dim=2, generator=Kept(), rngs=nnx.Rngs(0)),
    "StochasticFlow": lambda: dgm.StochasticFlow([dgm.Permute.reverse((2,))]),
    "Flow": lambda: dgm.Flow(dgm.Permute.reverse((2,))),
}


@pytest.mark.parametrize("name", LINEAR)
def test_temperature_scales_what_a_linear_decoder_makes(name):
    model = scramble(LINEAR[name](), jax.random.key(5), scale=0.5)
    draw = jax.jit(lambda model, t: model.sample(seed=SEEDS[0], sample_shape=4, temperature=t))
    warm = np.asarray(draw(model, 1.0))
    assert np.abs(warm).max() > 0.3
    for temperature in (0.25, 0.0):
        close(draw(model, temperature), temperature * warm, atol=1e-5)
