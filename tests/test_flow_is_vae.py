"""A flow is a VAE with deterministic maps: its ELBO goes to the log-likelihood of the flow as the noise vanishes.

The encoder is ``N(f(x), eps^2 J J^T)`` with ``J = df/dx`` and the decoder ``N(g(z), eps^2 I)`` with ``g = f^-1``.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions.stochastic.encoder_decoder import EncoderDecoder
from dgmjax.distributions.stochastic.flow import StochasticFlow
from dgmjax.testing import cast, scramble
from tests.instances import coupling

DIM = 2
X = jnp.asarray([0.7, -1.2])
SEED = jax.random.key(0)  # the noise is that of the quadrature
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
# All points of the product rule for e ~ N(0, I): exact for polynomials up to degree 17 in every coordinate.
NOISE = np.array(list(itertools.product(NODES, repeat=DIM)))
WEIGHT = np.prod(list(itertools.product(WEIGHTS / WEIGHTS.sum(), repeat=DIM)), axis=1)


class Around(nnx.Module):
    """``N(m, eps^2 A A^T)`` with ``m`` the map of the context and ``A`` its Jacobian, or the identity.

    A draw takes its standard normal noise from the rule above, one point for each of the first axis of contexts.
    """

    def __init__(self, bijector: dgm.Bijector, eps: float, *, to_latent: bool, jacobian: bool):
        self.bijector, self.eps = bijector, nnx.data(jnp.asarray(eps))
        self.to_latent, self.jacobian = to_latent, jacobian
        self.event_shape = self.context_shape = bijector.event_shape

    def log_prob(self, value, context):
        mean, matrix = self._moments(context)
        e = jnp.linalg.solve(matrix, (value - mean)[..., None])[..., 0] / self.eps
        return self._log_prob(e, matrix)

    def sample_and_log_prob(self, *, seed, context):
        del seed
        mean, matrix = self._moments(context)
        e = jnp.asarray(NOISE)
        return mean + self.eps * jnp.einsum("nij,nj->ni", matrix, e), self._log_prob(e, matrix)

    def _log_prob(self, e, matrix):
        log_det = jnp.linalg.slogdet(matrix)[1] + DIM * jnp.log(self.eps)
        return -0.5 * (e**2).sum(-1) - 0.5 * DIM * math.log(2.0 * math.pi) - log_det

    def _moments(self, context):
        function = self.bijector.inverse if self.to_latent else self.bijector.forward
        identity = jnp.broadcast_to(jnp.eye(DIM), (len(context), DIM, DIM))
        matrix = jax.vmap(jax.jacfwd(function))(context) if self.jacobian else identity
        return function(context), matrix


def autoencoder(bijector: dgm.Bijector, eps: float, *, jacobian: bool = True) -> EncoderDecoder:
    return EncoderDecoder(
        Around(bijector, eps, to_latent=True, jacobian=jacobian),
        Around(bijector, eps, to_latent=False, jacobian=False),
    )


NORMAL = cast(dgm.distributions.standard_normal((DIM,)), jnp.float64)


@functools.partial(jax.jit, static_argnames="jacobian")
def gap(bijector: dgm.Bijector, x: jax.Array, eps: float, *, jacobian: bool = True) -> jax.Array:
    """``ELBO - log p_NF`` at one ``x``, the expectation by quadrature."""
    vae = StochasticFlow([autoencoder(bijector, eps, jacobian=jacobian)], NORMAL)
    rows = jnp.broadcast_to(x, NOISE.shape)
    elbo = jnp.asarray(WEIGHT) @ vae.log_prob(rows, seed=SEED)
    return elbo - dgm.Flow(bijector, NORMAL).log_prob(x)


@functools.cache
def linear() -> dgm.Bijector:
    layer = dgm.DenseLinear((DIM,), rngs=nnx.Rngs(0))
    return cast(scramble(layer, jax.random.key(0), scale=0.5), jnp.float64)


@functools.cache
def nonlinear() -> dgm.Bijector:
    layers = [coupling(DIM, mask)(nnx.Rngs(0)) for mask in ([True, False], [False, True])]
    return cast(scramble(dgm.Chain(layers), jax.random.key(0), scale=0.5), jnp.float64)


@pytest.mark.parametrize("eps", [1.0, 0.3, 1e-2])
def test_the_contribution_of_a_linear_autoencoder_is_the_log_determinant(eps):
    """For every draw, not only on average: the noise of the encoder cancels in the reconstruction."""
    rows = jnp.broadcast_to(X, NOISE.shape)
    bijector = linear()
    _, contribution = jax.jit(lambda eps: autoencoder(bijector, eps).encode(rows, seed=SEED))(eps)
    _, log_det = bijector.inverse_and_log_det(X)
    assert abs(float(log_det)) > 0.1
    np.testing.assert_allclose(contribution, np.full(len(NOISE), log_det), atol=1e-10)


@pytest.mark.parametrize("eps", [1.0, 0.3, 1e-2])
def test_the_elbo_of_a_linear_autoencoder_is_below_the_flow_by_the_noise_of_its_prior(eps):
    """``ELBO - log p_NF = -(eps^2 / 2) tr(J J^T)``: what a standard normal prior loses by the encoder's noise."""
    jacobian = jax.jacfwd(linear().inverse)(X)
    expected = -0.5 * eps**2 * float((jacobian**2).sum())
    assert abs(gap(linear(), X, eps) - expected) < 1e-10


def test_the_elbo_of_a_nonlinear_autoencoder_goes_to_the_likelihood_of_the_flow():
    gaps = [abs(gap(nonlinear(), X, eps)) for eps in (1e-2, 1e-3)]
    assert 1e-7 < gaps[1] < 1e-4
    assert 90 < gaps[0] / gaps[1] < 110
    # The map is far from linear: its Jacobian differs between points.
    jacobian = jax.jacfwd(nonlinear().inverse)
    assert float(jnp.abs(jacobian(X) - jacobian(-X)).max()) > 0.1


@pytest.mark.parametrize("make", [linear, nonlinear])
def test_isotropic_noise_on_both_sides_does_not_converge_to_the_flow(make):
    """Its limit is ``(d - tr(W^T W)) / 2`` instead of ``log |det J|``, with ``W = J^-1``: equal for rotations only."""
    bijector = make()
    weight = np.linalg.inv(jax.jacfwd(bijector.inverse)(X))
    log_det = float(bijector.inverse_log_det(X))
    limit = 0.5 * (DIM - (weight**2).sum()) - log_det
    assert limit < -0.05
    np.testing.assert_allclose(gap(bijector, X, 1e-3, jacobian=False), limit, rtol=1e-4)
