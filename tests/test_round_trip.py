"""After a fit: rows that do not come back from their latents are named, healthy fits are silent."""

import re

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import scramble
from dgmjax.training import RoundTripWarning
from dgmjax.training.round_trip import outermost

pytestmark = pytest.mark.usefixtures("x32")

KEY = jax.random.key(0)
STILL = {"optimizer": optax.sgd(0.0), "init_rows": 0, "steps": 1}
X = np.random.RandomState(0).standard_t(2, (600, 4)).astype(np.float32)


def deep(**options) -> dgm.Flow:
    """Thirty-two couplings away from the identity, whose shifts grow with the row."""
    flow = dgm.RealNVP((4,), depth=32, width=8, rngs=nnx.Rngs(0), **options)
    return scramble(flow, KEY, scale=0.3)


def with_an_outlier(size: float) -> np.ndarray:
    x = X.copy()
    x[417, 2] = size
    return x


def test_a_row_that_does_not_come_back_is_named():
    with pytest.warns(RoundTripWarning, match="of 32 training rows do not .* float32") as found:
        result = dgm.fit(deep(), X, seed=KEY, batch_size=32, **STILL)
    assert len(found) == 1
    row = int(re.search(r"Worst is row (\d+),", str(found[0].message))[1])
    back = jax.jit(lambda b, x: b.forward(b.inverse(x)))(result.model.bijector, X[row])
    assert not np.abs(back - X[row]).max() <= 0.01 * np.abs(X[row]).max()


def test_the_outermost_rows_are_looked_at():
    rows = outermost({"x": with_an_outlier(1e6)}, 32)
    assert 417 in rows
    assert len(set(rows)) == 32
    assert list(outermost({"x": X[:7]}, 32)) == list(range(7))


@pytest.mark.parametrize("name", ["float", "integers", "transform", "off"])
def test_healthy_fits_and_fits_without_the_check_are_silent(name):
    """Warnings are errors here."""
    options = {"seed": KEY, "batch_size": 32} | STILL
    if name == "float":  # errors of a tiny row are those of a typical one
        x = X[:32].copy()
        x[5] = 1e-9
        dgm.fit(deep(activation="tanh"), x, **options)
    elif name == "off":
        dgm.fit(deep(), X, watch=dgm.Watch(check_round_trip=False), **options)
    else:
        levels = np.random.RandomState(1).randint(0, 5, (40, 4))
        flow = dgm.RealNVP((4,), depth=2, width=8, preprocess=dgm.Logit((4,), 5), rngs=nnx.Rngs(0))
        change = (lambda x, keys: 4 - x) if name == "transform" else None
        dgm.fit(dgm.Dequantized(flow, 5), levels, transform=change, **options)
