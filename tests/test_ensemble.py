"""Ensembles: the mixture, its samples, and members that learn as they would alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions import Ensemble
from dgmjax.objectives import every_member
from dgmjax.testing import scramble
from dgmjax.training import per_member

pytestmark = pytest.mark.usefixtures("x32")
KEY = jax.random.key(0)
QUIET = dgm.Watch(progress=False)


def flow(seed: int, **options) -> dgm.RealNVP:
    made = dgm.RealNVP((2,), depth=2, width=4, hidden_layers=1, rngs=nnx.Rngs(seed), **options)
    return scramble(made, jax.random.key(seed))


def at(mean: float) -> dgm.Flow:
    """``N(mean, 0.1^2)``."""
    return dgm.Flow(dgm.ActNorm((1,)).with_data_init(jnp.asarray([[mean - 0.1], [mean + 0.1]])))


@pytest.mark.parametrize("context_shape", [None, (3,)])
def test_it_is_the_equal_mixture_of_its_members(context_shape):
    members = [flow(seed, context_shape=context_shape) for seed in range(3)]
    ensemble = Ensemble(members)
    x = jax.random.normal(KEY, (5, 2))
    context = () if context_shape is None else (jnp.arange(5) % 3,)
    each = np.stack([member.log_prob(x, *context) for member in members])
    np.testing.assert_allclose(ensemble.member_log_probs(x, *context), each, rtol=1e-5)
    expected = np.log(np.exp(each).mean(0))
    np.testing.assert_allclose(ensemble.log_prob(x, *context), expected, rtol=1e-5)
    for found, member in zip(ensemble.members, members, strict=True):
        np.testing.assert_allclose(found.log_prob(x, *context), member.log_prob(x, *context))
    shape = (7,) if context_shape is None else (7, 5)
    options = {} if context_shape is None else {"context": context[0]}
    drawn = ensemble.sample(seed=KEY, sample_shape=7, **options)
    assert drawn.shape == (*shape, 2)
    assert (ensemble.event_shape, ensemble.context_shape) == ((2,), context_shape)


def test_events_that_no_member_has_are_minus_infinity():
    log_prob, gradient = jax.value_and_grad(Ensemble([at(0.0), at(1.0)]).log_prob)(
        jnp.full((1,), jnp.inf)
    )
    assert log_prob == -jnp.inf
    assert (gradient == 0).all()


def test_each_sample_is_of_a_member_drawn_for_it():
    drawn = np.asarray(Ensemble([at(0.0), at(9.0)]).sample(seed=KEY, sample_shape=(40, 10)))
    right = drawn[..., 0] > 4.5
    assert abs(right.mean() - 0.5) < 4 * 0.5 / np.sqrt(400)
    # Of neighbours half have the same member.
    assert 0.3 < (right[:, 1:] == right[:, :-1]).mean() < 0.7
    assert abs(drawn[right].mean() - 9.0) < 0.05
    alone = Ensemble([at(2.0)])
    cold = alone.sample(seed=KEY, sample_shape=3, temperature=0.0)
    np.testing.assert_allclose(cold, 2.0, atol=1e-6)


def test_a_member_learns_as_it_would_alone():
    """Clipped and with moments of its own: the gradients of one member are much larger."""
    x = np.random.RandomState(0).normal(size=(200, 2)).astype(np.float32)
    x[:, 1] += x[:, 0] ** 2
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2))
    options = {"seed": KEY, "steps": 12, "batch_size": 50, "eval_every": 6, "watch": QUIET}
    members = [flow(0), flow(5)]
    together = dgm.fit(
        Ensemble(members), x, loss=every_member, optimizer=per_member(optimizer), **options
    )
    nats = []
    for member, found in zip(members, together.model.members, strict=True):
        alone = dgm.fit(member, x, optimizer=optimizer, **options)
        nats.append(alone.history[-1]["nats"])
        for a, b in zip(
            *(jax.tree.leaves(nnx.state(m, nnx.Param)) for m in (alone.model, found)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together.history[-1]["nats"], np.mean(nats), rtol=1e-5)


def test_layers_are_set_from_data_and_a_model_is_saved_and_loaded(tmp_path):
    x = 5.0 + 2.0 * np.random.RandomState(0).normal(size=(100, 2)).astype(np.float32)
    members = [flow(seed, preprocess=dgm.Standardize((2,))) for seed in range(2)]
    result = dgm.fit(
        Ensemble(members), x, validation=x, loss=every_member, optimizer=per_member(optax.sgd(0.0)),
        seed=KEY, steps=1, watch=QUIET,
    )  # fmt: skip
    for member in result.model.members:
        start = member.bijector.layers[0]
        np.testing.assert_allclose(start.inverse(jnp.asarray(x)).mean(0), 0.0, atol=1e-5)
    dgm.save(tmp_path / "model", result.model)
    loaded = dgm.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.log_prob(x), result.model.log_prob(x))
    # What selects weights is the mixture.
    assert result.history[-1]["split"] == "validation"
    nats = -result.model.log_prob(x).mean()
    np.testing.assert_allclose(result.history[-1]["nats"], nats, rtol=1e-5)


def test_members_may_be_bounds():
    members = [dgm.Dequantized(flow(seed), 4) for seed in range(2)]
    ensemble = Ensemble(members)
    assert ensemble.bound(3) == members[0].bound(3)
    y = jnp.asarray([[0, 3], [1, 2]])
    each = ensemble.member_log_probs(y, seed=KEY)
    assert each.shape == (2, 2)
    assert ensemble.log_prob(y, seed=KEY).shape == (2,)
    assert ensemble.sample(seed=KEY, sample_shape=4).dtype == members[0].sample(seed=KEY).dtype


def test_what_is_no_ensemble_is_refused():
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
    with pytest.raises(ValueError, match="Ensemble: member 1 .* differ in more than their arrays"):
        Ensemble([flow(0), flow(1, scale_fn="exp")])
    normalised = dgm.Flow(dgm.BatchNorm((2,)))
    with pytest.raises(ValueError, match="running statistics"):
        Ensemble([normalised, normalised])
    with pytest.raises(TypeError, match="expected an Ensemble, got RealNVP"):
        every_member(flow(0), {"x": jnp.zeros((1, 2))}, KEY)
