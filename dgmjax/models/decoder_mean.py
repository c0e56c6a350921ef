"""From the output of a decoder to an event without noise, for all models with latent variables that give codes."""

import jax
import jax.numpy as jnp

from dgmjax.distributions.likelihoods import ConditionalModel, Likelihood

_NOISE = 0


def decoded(likelihood: Likelihood, output: jax.Array) -> jax.Array:
    """``E[x | output]``, floats in units of the data: ``[*batch, *output_shape] -> [*batch, *event]``.

    A conditional model has no mean: of it a draw with fixed noise, the same for every event of the batch, so that
    events differ by their codes alone.
    """
    if not isinstance(likelihood, ConditionalModel):
        return likelihood.mean(output)
    batch = output.shape[: output.ndim - len(likelihood.output_shape)]
    return likelihood.sample(output, seed=jnp.broadcast_to(jax.random.key(_NOISE), batch))
