"""Maximum likelihood of every member of an ensemble at once."""

import jax

from dgmjax.distributions.ensemble import Ensemble
from dgmjax.numerics import prng
from dgmjax.objectives.maximum_likelihood import Batch, Metrics, likelihood_metrics


def every_member(model: Ensemble, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """Training loss of an ensemble: the sum over its members of ``-mean log p_k(x)``, in nats.

    The gradient of a member is what it would be alone, on the same batch; with `dgmjax.training.per_member` around the
    optimizer its steps are too. (`maximum_likelihood` is that of the mixture, whose members share the data out.)

    Args:
      model: ensemble.
      batch: as of `maximum_likelihood`.
      key: of noise and dropout; one, or one an example. Members draw each their own.

    Returns:
      The loss, and the means over members of `likelihood_metrics`.

    Raises:
      TypeError: a model that is no ensemble.
    """
    if not isinstance(model, Ensemble):
        raise TypeError(f"every_member: expected an Ensemble, got {type(model).__name__}.")
    seed, dropout_key = prng.split(key)
    x = batch["x"]
    log_probs = model.member_log_probs(x, batch.get("context"), seed=seed, key=dropout_key)
    metrics = likelihood_metrics(model, x, log_probs)
    return metrics["nats"][0] / len(x), metrics
