"""Samplers in the latent space of a flow."""

from collections.abc import Callable

import jax

from dgmjax.distributions.flow import Flow
from dgmjax.layers.bijector import Bijector


def pull_back(
    log_density: Callable[[jax.Array], jax.Array],
    bijector: Bijector | Flow,
    context: jax.Array | None = None,
) -> Callable[[jax.Array], jax.Array]:
    """The log-density of ``z`` whose image ``x = bijector.forward(z)`` has the density ``exp(log_density)``.

    ``z -> log_density(x) + log |det dx/dz|``. If the bijector is that of a flow fitted to the density, the result is
    close to a standard normal, in which gradient-based samplers take long steps; samples come back by
    ``bijector.forward(z)``. Exact whatever the fit: the target is the same in other coordinates.

    Args:
      log_density: ``[*event] -> []``, normalised or not.
      bijector: layer, or the flow whose ``bijector`` is meant.
      context: at which to fix a conditional one.

    Returns:
      ``[*latent] -> []``.

    Source: Hoffman et al., 2019, *NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport*,
    arXiv:1903.03704.
    """
    layer = bijector.bijector if isinstance(bijector, Flow) else bijector

    def pulled_back(z: jax.Array) -> jax.Array:
        x, log_det = layer.forward_and_log_det(z, context)
        return log_density(x) + log_det

    return pulled_back
