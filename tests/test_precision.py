"""Stated budgets of rounding at depth 32, in float32 and bfloat16, against float64 of the same parameters.

Parameters are scrambled as far as the float64 round trip stays below 1e-13, i.e. the maps stay well conditioned, with
log-dets of several nats: deep maps that expand by 1e4 lose four more digits in any precision.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from tests.instances import cast, scramble

DEPTH, SIZE, BATCH = 32, 8, 64


class Budget(NamedTuple):
    """Largest ``|error| / (1 + |exact|)`` of any element, about four times the worst of six draws of parameters.

    Attributes:
      round_trip: of inverse(forward(z)) against z, and of forward(inverse(x)) against x.
      values: of forward(z) and of inverse(forward(z)), against float64.
      log_det: of both log-dets, against float64.
    """

    round_trip: float
    values: float
    log_det: float


def _glow_like(rngs: nnx.Rngs) -> dgm.Bijector:
    def step() -> dgm.Bijector:
        coupling = dgm.Coupling(
            (SIZE,),
            mask="half",
            make_conditioner=functools.partial(dgm.nets.MLP, width=32, rngs=rngs),
            transformer=dgm.bijectors.AffineTransformer(),
        )
        return dgm.Chain([dgm.ActNorm((SIZE,)), dgm.layers.PLULinear((SIZE,), rngs=rngs), coupling])

    return dgm.Stack([step() for _ in range(DEPTH)])


def _flow(cls: type):
    return lambda rngs: cls((SIZE,), depth=DEPTH, width=32, rngs=rngs).bijector


# The map and how far its parameters are moved.
FLOWS = {
    "RealNVP": (_flow(dgm.RealNVP), 0.015),
    "NICE": (_flow(dgm.NICE), 0.03),
    "NeuralSplineFlow": (_flow(dgm.NeuralSplineFlow), 0.01),
    "MAF": (_flow(dgm.MAF), 0.02),
    "ActNorm, PLU, coupling": (_glow_like, 0.01),
}
BUDGETS = {
    ("RealNVP", "float32"): Budget(4e-6, 4e-6, 3e-6),
    ("RealNVP", "bfloat16"): Budget(0.2, 0.25, 0.2),
    ("NICE", "float32"): Budget(3e-6, 2e-6, 4e-8),
    ("NICE", "bfloat16"): Budget(0.12, 0.12, 2e-3),
    ("NeuralSplineFlow", "float32"): Budget(3.2e-5, 3.2e-5, 9e-5),
    # No precision to work with: a bin of a spline has few bfloat16 numbers in it.
    ("NeuralSplineFlow", "bfloat16"): Budget(1.4, 1.4, 3.0),
    ("MAF", "float32"): Budget(3e-6, 3e-6, 2.2e-6),
    ("MAF", "bfloat16"): Budget(0.23, 0.23, 0.17),
    ("ActNorm, PLU, coupling", "float32"): Budget(2e-5, 2e-5, 6e-6),
    ("ActNorm, PLU, coupling", "bfloat16"): Budget(1.0, 1.0, 0.26),
}


@jax.jit
def there_and_back(layer, z):
    x, forward_log_det = layer.forward_and_log_det(z)
    again, inverse_log_det = layer.inverse_and_log_det(x)
    return x, again, layer.forward(again), forward_log_det, inverse_log_det


@functools.cache
def flow(name: str) -> dgm.Bijector:
    make, scale = FLOWS[name]
    return scramble(make(nnx.Rngs(0)), jax.random.key(1), scale=scale)


def error(got: jax.Array, exact: jax.Array) -> float:
    got, exact = np.asarray(got, np.float64), np.asarray(exact, np.float64)
    return np.max(np.abs(got - exact) / (1.0 + np.abs(exact)))


def measure(name: str, dtype: str) -> Budget:
    layer = cast(flow(name), jnp.dtype(dtype))
    z = jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, SIZE))).astype(dtype)
    x, again, x_again, *log_dets = there_and_back(layer, z)
    # Rounded parameters and inputs are another exact map: what is measured is the arithmetic.
    exact_x, exact_again, _, *exact = there_and_back(
        cast(layer, jnp.float64), z.astype(jnp.float64)
    )
    assert error(exact_again, z) < 1e-13, "badly conditioned: move the parameters less"
    assert {a.dtype.name for a in (x, again, x_again)} == {dtype}
    return Budget(
        round_trip=max(error(again, z), error(x_again, x)),
        values=max(error(x, exact_x), error(again, exact_again)),
        log_det=max(map(error, log_dets, exact)),
    )


@pytest.mark.parametrize(("name", "dtype"), BUDGETS)
def test_deep_flows_keep_their_budget(name, dtype):
    measured, budget = measure(name, dtype), BUDGETS[name, dtype]
    for field, got, allowed in zip(Budget._fields, measured, budget, strict=True):
        assert got <= allowed, f"{field}: {got:.2g}, budget {allowed:.2g}; all measured: {measured}"
