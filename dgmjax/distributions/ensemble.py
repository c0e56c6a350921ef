"""Many densities of one kind as one, run as one program."""

import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.densities.bound import Bound
from dgmjax.distributions.base import Density
from dgmjax.distributions.running_statistics import has_statistics
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.layers.stack import stacked
from dgmjax.numerics import ends, prng
from dgmjax.numerics.compiled import compiled


@recorded
class Ensemble(Density):
    """``p(x) = (1/K) sum_k p_k(x)``: the equal mixture of ``K`` densities that differ in their arrays only.

    The arrays of the members are stacked along a new first axis, and `jax.vmap` runs all at once, in training too: with
    `dgmjax.objectives.every_member` as loss and `dgmjax.training.per_member` around the optimizer each member learns as
    it would alone. Where members from several initial weights disagree, none of them is to be trusted.

    Args:
      members: at least one density; all of one class, with equal settings and shapes.

    Raises:
      ValueError: no members, members that differ in more than their arrays, or with running statistics.

    Example:
      >>> import jax, dgmjax as dgm
      >>> from flax import nnx
      >>> flows = [dgm.MAF((2,), depth=2, width=8, rngs=nnx.Rngs(i)) for i in range(3)]
      >>> ensemble = dgm.distributions.Ensemble(flows)
      >>> ensemble.sample(seed=jax.random.key(0), sample_shape=5).shape
      (5, 2)

    Source: Lakshminarayanan et al., 2017, *Simple and scalable predictive uncertainty estimation using deep ensembles*,
      arXiv:1612.01474, section 2.4 (the mixture).
    """

    def __init__(self, members: Sequence[Density]):
        members = list(members)
        if not members:
            raise ValueError("Ensemble: expected at least one member, got none.")
        if has_statistics(members[0]):
            raise ValueError(
                "Ensemble: the members have running statistics (batch normalisation), which a mixture cannot update."
            )
        self.member = stacked(members, where="Ensemble", what="member")
        self.num_members = len(members)
        first = members[0]
        self.event_shape, self.context_shape = first.event_shape, first.context_shape
        self.num_levels = first.num_levels

    @property
    def members(self) -> list[Density]:
        """The single densities."""
        return [jax.tree.map(lambda a, k=k: a[k], self.member) for k in range(self.num_members)]

    def bound(self, num_samples: int = 1) -> Bound:
        """The label of a member: the mixture of bounds is one too."""
        return self.member.bound(num_samples)

    @compiled
    def member_log_probs(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        num_samples: int = 1,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Log-densities under each member, ``[K, *batch]``, nats; arguments as of `log_prob`."""
        return jax.vmap(
            lambda index, member: member.log_prob(
                value,
                context,
                seed=prng.fold_in(seed, index),
                num_samples=num_samples,
                key=prng.fold_in(key, index),
            )
        )(jnp.arange(self.num_members), self.member)

    @compiled
    def log_prob(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        num_samples: int = 1,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Log-density of the mixture, ``[*batch, *event]`` to ``[*batch]``, nats.

        Args:
          value: events.
          context: for conditional members.
          seed: of the noise of bounds.
          num_samples: importance samples of bounds, each member's.
          key: switches dropout on.
        """
        of_members = self.member_log_probs(
            value, context, seed=seed, num_samples=num_samples, key=key
        )
        return ends.log_sum_exp(of_members, 0) - math.log(self.num_members)

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: Any = 1.0,
    ) -> jax.Array:
        """Draw events ``[*sample_shape, *context batch, *event]``, each from a member drawn for it alone.

        All members draw all events, of which one in ``K`` is kept; `members` draw alone.
        """
        choice_key, seed = jax.random.split(seed)
        drawn = jax.vmap(
            lambda index, member: member.sample(
                seed=jax.random.fold_in(seed, index),
                sample_shape=sample_shape,
                context=context,
                temperature=temperature,
            )
        )(jnp.arange(self.num_members), self.member)
        batch = drawn.shape[1 : drawn.ndim - len(self.event_shape)]
        choice = jax.random.randint(choice_key, batch, 0, self.num_members)
        choice = choice.reshape(1, *batch, *(1,) * len(self.event_shape))
        return jnp.take_along_axis(drawn, choice, axis=0)[0]

    def with_data_init(
        self, value: jax.Array, context: jax.Array | None = None, *, seed: jax.Array | None = None
    ) -> Self:
        """A new ensemble of members whose data-dependent parts are set from the same batch."""
        new = nnx.clone(self)
        new.member = jax.vmap(lambda member: member.with_data_init(value, context, seed=seed))(
            self.member
        )
        return new
