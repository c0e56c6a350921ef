"""Validation is without dropout, and training with it: a law of every model that drops units."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.objectives import (
    NegativeELBO,
    Reconstruction,
    maximum_likelihood,
    negative_log_likelihood,
)
from dgmjax.testing import scramble

pytestmark = pytest.mark.usefixtures("x32")
KEY = jax.random.key(0)
X = np.random.RandomState(0).normal(size=(6, 4)).astype(np.float32)
LEVELS = np.random.RandomState(1).randint(0, 3, (6, 4)).astype(np.int32)
CONTEXT = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1, 0]]
SMALL = {"width": 8, "depth": 1}


def realnvp(**options) -> dgm.RealNVP:
    return dgm.RealNVP((4,), depth=2, width=8, rngs=nnx.Rngs(0), **options)


def coupling(**options) -> dgm.Coupling:
    net = functools.partial(dgm.nets.MLP, width=8, rngs=nnx.Rngs(0), **options)
    affine = dgm.bijectors.AffineTransformer("tanh")
    return dgm.Coupling((4,), mask="half", make_conditioner=net, transformer=affine)


class Row:
    """A model with ``dropout`` as an option, its events, and its losses in training and validation."""

    validation: Any = staticmethod(negative_log_likelihood)

    def __init__(self, make: Callable[..., Any], x: np.ndarray, *losses: Any, **more: np.ndarray):
        self.make, self.losses = make, losses or (maximum_likelihood,)
        self.batch = {name: jnp.asarray(array) for name, array in ({"x": x} | more).items()}


def vae(kind: type, **options):
    dims = {"latent_dim": 2} if kind is dgm.VAE else {"latent_dims": (2, 2)}
    options = dims | SMALL | {"likelihood": "categorical", "num_levels": 3} | options
    return kind((4,), **options, rngs=nnx.Rngs(0))


ELBO = (NegativeELBO(), maximum_likelihood)
ROWS = {
    "flow": Row(realnvp, X),
    "conditional flow": Row(lambda **o: realnvp(context_shape=(3,), **o), X, context=CONTEXT),
    "batch norm": Row(lambda **o: dgm.Flow(dgm.Chain([dgm.BatchNorm((4,)), coupling(**o)])), X),
    "dequantized": Row(lambda **o: dgm.Dequantized(realnvp(**o), 3), LEVELS),
    "VAE": Row(lambda **o: vae(dgm.VAE, **o), LEVELS, *ELBO),
    "VAE with batch norm": Row(
        lambda **o: vae(dgm.VAE, prior=dgm.Flow(dgm.BatchNorm((2,))), **o), LEVELS, *ELBO
    ),
    "hierarchical VAE": Row(lambda **o: vae(dgm.HierarchicalVAE, **o), LEVELS, *ELBO),
    "autoencoder": Row(
        lambda **o: dgm.SparseAutoencoder((4,), 3, **SMALL, **o, rngs=nnx.Rngs(0)),
        X,
        Reconstruction(l1=0.1),
    ),
}
ROWS["autoencoder"].validation = Reconstruction(l1=0.1, dropout=False)


@pytest.mark.parametrize("name", ROWS)
def test_training_drops_units_and_validation_does_not(name):
    """The same weights with and without dropout: the values agree in validation only, with one key a row too."""
    row = ROWS[name]
    keys = jax.random.split(KEY, 6)
    dropping, plain = (scramble(row.make(dropout=rate), KEY, scale=0.3) for rate in (0.5, 0.0))
    for loss, differs in ((row.validation, False), *((f, True) for f in row.losses)):
        found, expected = (
            np.asarray(jax.jit(lambda model, loss=loss: loss(model, row.batch, keys)[0])(model))
            for model in (dropping, plain)
        )
        assert np.isfinite(found)
        if differs:
            assert abs(found - expected) > 1e-3 * abs(expected), loss
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in ROWS if "flow" in name or name == "batch norm"])
def test_validation_without_a_bound_does_not_depend_on_the_key(name):
    row = ROWS[name]
    model = scramble(row.make(dropout=0.5), KEY, scale=0.3)
    loss = jax.jit(lambda key: negative_log_likelihood(model, row.batch, key)[0])
    np.testing.assert_array_equal(loss(KEY), loss(jax.random.key(1)))


def test_noise_and_dropout_have_keys_of_their_own():
    """With one key for both, or one made of the other, two draws would be one, and this model's loss 0."""

    class Model(nnx.Module):
        event_shape = (4,)

        def bound(self, num_samples):
            return dgm.densities.Bound("lower bound", num_samples, "noise")

        def log_prob(self, x, *, seed, num_samples=1, key=None):
            other = 5.0 if key is None else jax.random.uniform(key)
            draws = [jax.random.uniform(one) - other for one in (seed, *jax.random.split(seed))]
            return draws[0] * draws[1] * draws[2] * jnp.ones(x.shape[0])

    batch = {"x": jnp.asarray(LEVELS)}
    assert abs(maximum_likelihood(Model(), batch, KEY)[0]) > 1e-6
    assert 4.0**3 < negative_log_likelihood(Model(), batch, KEY)[0] < 5.0**3
