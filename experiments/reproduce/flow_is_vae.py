"""A flow is a VAE whose encoder and decoder are deterministic: the limit of vanishing noise, by Monte Carlo."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, float64
from experiments.reproduce.entry import Check, Context, at_least, at_most, entry

_DIM = 2
_NOISE = 20_000


class Around(nnx.Module):
    """``N(m, eps^2 A A^T)``: ``m`` the map of the context, ``A`` its Jacobian or the identity.

    Args:
      bijector: the map, or its inverse.
      eps: of the noise.
      to_latent: from data to latents, with the Jacobian; else from latents to data, with the identity.
      isotropic: the identity also in the first case.
    """

    def __init__(
        self, bijector: dgm.Bijector, eps: float, *, to_latent: bool, isotropic: bool = False
    ):
        self.bijector, self.eps = bijector, nnx.data(jnp.asarray(eps))
        self.to_latent, self.isotropic = to_latent, isotropic
        self.event_shape = self.context_shape = bijector.event_shape

    def log_prob(self, value: jax.Array, context: jax.Array) -> jax.Array:
        """``[n, d]`` and contexts ``[n, d]`` to ``[n]``."""
        mean, matrix = self._moments(context)
        return self._log_prob(
            jnp.linalg.solve(matrix, (value - mean)[..., None])[..., 0] / self.eps, matrix
        )

    def sample_and_log_prob(self, *, seed: Any, context: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One draw a context."""
        mean, matrix = self._moments(context)
        noise = jax.random.normal(seed, mean.shape, mean.dtype)
        return mean + self.eps * jnp.einsum("nij,nj->ni", matrix, noise), self._log_prob(
            noise, matrix
        )

    def _log_prob(self, noise: jax.Array, matrix: jax.Array) -> jax.Array:
        log_det = jnp.linalg.slogdet(matrix)[1] + _DIM * jnp.log(self.eps)
        return -0.5 * (noise**2).sum(-1) - 0.5 * _DIM * math.log(2 * math.pi) - log_det

    def _moments(self, context: jax.Array) -> tuple[jax.Array, jax.Array]:
        function = self.bijector.inverse if self.to_latent else self.bijector.forward
        if self.to_latent and not self.isotropic:
            return function(context), jax.vmap(jax.jacfwd(function))(context)
        return function(context), jnp.broadcast_to(jnp.eye(_DIM), (len(context), _DIM, _DIM))


def _gap(bijector: dgm.Bijector, x: jax.Array, eps: float, *, isotropic: bool = False) -> jax.Array:
    """``ELBO - log p`` of the flow, one draw each of many: ``[draws]``."""
    encoder = Around(bijector, eps, to_latent=True, isotropic=isotropic)
    normal = cast(dgm.distributions.standard_normal((_DIM,)), jnp.float64)
    pair = dgm.EncoderDecoder(encoder, Around(bijector, eps, to_latent=False))
    rows = jnp.broadcast_to(x, (_NOISE, _DIM))
    bound = jax.jit(lambda vae: vae.log_prob(rows, seed=KEY))(dgm.StochasticFlow([pair], normal))
    return bound - dgm.Flow(bijector, normal).log_prob(x)


def _in_errors(values: jax.Array, expected: float) -> float:
    """How far the mean is from ``expected``, in its standard errors."""
    return abs(float(values.mean()) - expected) / (float(values.std()) / math.sqrt(values.size))


@entry(
    "L7-10", title="The theorem: maximum likelihood of a flow is the ELBO of a deterministic VAE"
)
def theorem(context: Context) -> list[Check]:
    """Encoder ``N(f(x), eps^2 J J^T)``, decoder ``N(g(z), eps^2 I)``: ``ELBO - log p -> 0`` as ``eps -> 0``.

    For a linear ``f`` the contribution of the pair is ``log |det J|`` at every draw, and the gap is
    ``-(eps^2 / 2) tr(J J^T)``. With isotropic noise on both sides it does not vanish.
    """
    del context
    with float64():
        x = jnp.asarray([0.7, -1.2])
        linear = cast(
            scramble(dgm.DenseLinear((_DIM,), rngs=nnx.Rngs(0)), KEY, scale=0.5), jnp.float64
        )
        rows = jnp.broadcast_to(x, (100, _DIM))
        pair = dgm.EncoderDecoder(
            Around(linear, 0.3, to_latent=True), Around(linear, 0.3, to_latent=False)
        )
        _, contribution = pair.encode(rows, seed=KEY)
        log_det = float(linear.inverse_log_det(x))
        jacobian = jax.jacfwd(linear.inverse)(x)
        expected = -0.5 * 0.3**2 * float((jacobian**2).sum())
        curved = cast(
            scramble(
                dgm.RealNVP((_DIM,), depth=2, width=16, activation="tanh", rngs=nnx.Rngs(0)),
                KEY,
                scale=0.4,
            ),
            jnp.float64,
        ).bijector
        gaps = [abs(float(_gap(curved, x, eps).mean())) for eps in (0.1, 0.01)]
        weight = jnp.linalg.inv(jax.jacfwd(curved.inverse)(x))
        limit = 0.5 * (_DIM - float((weight**2).sum())) - float(curved.inverse_log_det(x))
        isotropic = _gap(curved, x, 1e-3, isotropic=True)
        return [
            at_most(
                "linear: largest |contribution - log |det J||",
                float(jnp.abs(contribution - log_det).max()),
                1e-10,
            ),
            at_most(
                "linear: gap from -(eps^2 / 2) tr(J J^T), in standard errors",
                _in_errors(_gap(linear, x, 0.3), expected),
                4.0,
            ),
            at_most("couplings, eps = 0.1: |gap|, nats", gaps[0], 0.5),
            at_most("couplings, eps = 0.01: |gap| over that at 0.1", gaps[1] / gaps[0], 0.2),
            at_least("isotropic noise: its limit away from 0, nats", abs(limit), 0.02),
            at_most(
                "isotropic noise: gap from its limit, in standard errors",
                _in_errors(isotropic, limit),
                4.0,
            ),
        ]
