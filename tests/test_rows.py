"""`map_rows`, and `log_likelihood` by it: what all rows at once give, some rows at a time."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics import map_rows, prng
from dgmjax.testing import scramble

KEY = jax.random.key(0)


def both(x, pair):
    """Two results of one row each: ``x + a`` and ``b``."""
    return {"sum": x + pair[0], "other": pair[1]}


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100, None])
@pytest.mark.parametrize("traced", [False, True])
def test_rows_by_hand(batch_size, traced):
    """Seven rows, of which three do not divide, of two arguments, the second a pair; nothing is in another order."""
    x, a, b = np.arange(7.0), 10.0 * np.arange(7), np.arange(14).reshape(7, 2)
    run = functools.partial(map_rows, both, batch_size=batch_size)
    found = (jax.jit(run) if traced else run)(x, (a, b))
    np.testing.assert_array_equal(found["sum"], [0, 11, 22, 33, 44, 55, 66])
    np.testing.assert_array_equal(found["other"], b)
    assert isinstance(found["sum"], jax.Array if traced else np.ndarray)


def test_batches_have_one_shape_and_the_last_is_filled_up():
    seen = []

    def doubled(x, nothing):
        assert nothing is None
        seen.append(x.tolist())
        return jnp.asarray(2 * x)

    found = map_rows(doubled, np.array([1, 2, 3, 4, 5]), None, batch_size=2)
    assert seen == [[1, 2], [3, 4], [5, 5]]
    assert found.tolist() == [2, 4, 6, 8, 10]
    assert isinstance(found, jax.Array)


@pytest.mark.parametrize("batch_size", [3, None])
def test_no_rows_give_no_results(batch_size):
    found = map_rows(both, np.zeros((0, 2)), (np.zeros((0, 2)), np.zeros(0)), batch_size=batch_size)
    assert (found["sum"].shape, found["other"].shape) == ((0, 2), (0,))


def test_keys_are_rows_like_others():
    keys = prng.example_keys(KEY, 5)
    expected = [jax.random.normal(jax.random.fold_in(KEY, i)) for i in range(5)]
    draw = jax.vmap(jax.random.normal)
    np.testing.assert_allclose(map_rows(draw, keys, batch_size=2), expected, rtol=1e-6)
    again = map_rows(lambda keys: keys, keys, batch_size=2)
    np.testing.assert_array_equal(jax.random.key_data(again), jax.random.key_data(keys))


def test_a_gradient_counts_every_row_once():
    """Copies that fill up the last batch have no part in it: ``d/dx sum x^2 = 2 x``."""
    x = jnp.arange(5.0)
    grad = jax.jit(jax.grad(lambda x: map_rows(jnp.square, x, batch_size=3).sum()))
    np.testing.assert_allclose(grad(x), 2 * x)


@pytest.mark.parametrize(
    ("arrays", "batch_size", "said"),
    [
        ((np.zeros(3), np.zeros(4)), 2, r"one number of rows, got \[3, 4\]"),
        ((np.zeros(3),), 0, "batch_size must be at least 1, got 0"),
        ((None,), 2, r"one number of rows, got \[\]"),
    ],
)
def test_wrong_rows_are_refused(arrays, batch_size, said):
    with pytest.raises(ValueError, match=said):
        map_rows(lambda *parts: parts[0], *arrays, batch_size=batch_size)


def flow(**options):
    model = dgm.MAF((2,), depth=2, width=8, **options, rngs=nnx.Rngs(0))
    return scramble(model, KEY)


MODELS = {
    "flow": (flow, 1),
    "conditional flow": (lambda: flow(context_shape=(3,)), 1),
    "dequantized": (lambda: dgm.Dequantized(flow(preprocess=dgm.Logit((2,), 5)), 5), 1),
    "dequantized, K=4": (lambda: dgm.Dequantized(flow(preprocess=dgm.Logit((2,), 5)), 5), 4),
    "vae": (
        lambda: scramble(
            dgm.VAE(
                (2,),
                latent_dim=2,
                num_levels=5,
                likelihood="categorical",
                width=8,
                rngs=nnx.Rngs(0),
            ),
            KEY,
        ),
        3,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_likelihood_does_not_depend_on_the_batch_size(name):
    """Seven rows, three and four at a time; the noise of a row is that of its own key."""
    make, num_samples = MODELS[name]
    model = make()
    x = np.random.default_rng(0).integers(0, 5, (7, 2))
    if getattr(model, "num_levels", None) is None:
        x = (x + 0.25).astype(np.float32)
    context = np.arange(7) % 3 if name == "conditional flow" else None
    whole = dgm.log_likelihood(model, x, context, seed=KEY, num_samples=num_samples)
    for batch_size in (3, 4, 7, 8):
        parts = dgm.log_likelihood(
            model, x, context, seed=KEY, num_samples=num_samples, batch_size=batch_size
        )
        np.testing.assert_allclose(parts.log_prob, whole.log_prob, rtol=2e-6)
        assert parts.bound == whole.bound
    last = dgm.log_likelihood(
        model, x[6:], None if context is None else context[6:],
        seed=prng.example_keys(KEY, 1, start=6), num_samples=num_samples,
    )  # fmt: skip
    np.testing.assert_allclose(last.log_prob, whole.log_prob[6:], rtol=2e-6)
    assert len(np.unique(whole.log_prob)) == 7


def test_one_context_is_that_of_all_rows_and_batch_axes_stay():
    model = flow(context_shape=(3,))
    x = np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32)
    whole = dgm.log_likelihood(model, x, 2)
    parts = dgm.log_likelihood(model, x, 2, batch_size=2)
    assert parts.log_prob.shape == (5, 2)
    np.testing.assert_allclose(parts.log_prob, whole.log_prob, rtol=2e-6)
    with pytest.raises(ValueError, match=r"0 \.\. 2"):
        dgm.log_likelihood(model, x, np.full((5, 2), 3), batch_size=2)


_TEN_MILLION = """
import resource
import numpy as np
import dgmjax as dgm
from flax import nnx

flow = dgm.RealNVP((6,), depth=4, width=32, rngs=nnx.Rngs(0))
x = np.random.default_rng(0).standard_normal((10_000_000, 6), dtype=np.float32)
likelihood = dgm.log_likelihood(flow, x, batch_size=100_000)
log_prob = dgm.numerics.map_rows(flow.log_prob, x, batch_size=100_000)
assert likelihood.log_prob.shape == log_prob.shape == (10_000_000,)
np.testing.assert_array_equal(likelihood.log_prob[-5:], log_prob[-5:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_ten_million_rows_take_less_than_two_gibibytes():
    done = subprocess.run(
        [sys.executable, "-c", _TEN_MILLION], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2 * 2**30
