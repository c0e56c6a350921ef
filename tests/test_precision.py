"""Stated budgets of rounding at depth 32, in float32 and bfloat16, against float64 of the same parameters.

Parameters are scrambled as far as the float64 round trip stays below 1e-13, i.e. the maps stay well conditioned, with
log-dets of several nats: deep maps that expand by 1e4 lose four more digits in any precision.
"""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble

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
@pytest.mark.one_in(4)
def test_deep_flows_keep_their_budget(name, dtype):
    measured, budget = measure(name, dtype), BUDGETS[name, dtype]
    for field, got, allowed in zip(Budget._fields, measured, budget, strict=True):
        assert got <= allowed, f"{field}: {got:.2g}, budget {allowed:.2g}; all measured: {measured}"


# Mixed precision: conditioners in bfloat16, everything else in the dtype of the data.
MIXED = ["RealNVP", "NICE", "NeuralSplineFlow", "MAF", "IAF"]
COUPLINGS = MIXED[:3]
SCALES = {name: FLOWS[name][1] for name in (*COUPLINGS, "MAF")} | {"IAF": FLOWS["MAF"][1]}
# Largest difference of data and log-determinants from the same networks in float32, relative to 1 + |value|: about four
# times the worst of six draws of parameters.
MIXED_VALUES = {
    "RealNVP": (0.22, 0.12),
    "NICE": (0.08, 1e-7),
    "NeuralSplineFlow": (0.065, 0.13),
    "MAF": (0.025, 0.05),
}
# What steps of the rounded networks do to a round trip, likewise. They were met by 1 to 8 of 1000 events.
STEP = 0.012


@functools.cache
def system(name: str, compute_dtype: str | None = "bfloat16", depth: int = DEPTH, **options):
    """The flow of `flow`, whose parameters do not depend on the precision."""
    settings = {"depth": depth, "width": 32, "rngs": nnx.Rngs(0)} | options
    made = getattr(dgm, name)((SIZE,), compute_dtype=compute_dtype, **settings)
    return scramble(made, jax.random.key(1), scale=SCALES[name])


def normal(*shape: int, dtype: str = "float32") -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(dtype))


@jax.jit
@jax.value_and_grad
def nats(bijector: dgm.Bijector, x: jax.Array) -> jax.Array:
    z, log_det = bijector.inverse_and_log_det(x)
    return (0.5 * (z**2).sum(-1) - log_det).mean()


@pytest.mark.parametrize("name", MIXED)
def test_mixed_precision_reaches_the_conditioners_only(name):
    """Every product of matrices, forward and backward, is of 16-bit operands; no result is."""
    bijector, x = system(name, depth=2).bijector, normal(BATCH, SIZE)
    program = nats.lower(bijector, x)
    operands = re.findall(
        r"dot_general .*: \(tensor<([^>]*)>, tensor<([^>]*)>\)", program.as_text()
    )
    assert len(operands) >= 9  # three layers: output, gradients of input and kernel
    assert {shape.split("x")[-1] for pair in operands for shape in pair} == {"bf16"}
    results = jax.tree.leaves((program.out_info, bijector))
    assert {leaf.dtype.name for leaf in results} == {"float32"}


def test_gradients_of_mixed_precision_are_near_those_of_float32():
    x = normal(BATCH, SIZE)
    got, right = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(nats(mixed.bijector, x)[1])])
        for mixed in (system("RealNVP", depth=2), system("RealNVP", None, depth=2))
    )
    assert 1e-4 < np.linalg.norm(got - right) / np.linalg.norm(right) < 0.03


@pytest.mark.parametrize("name", [*COUPLINGS, "MAF"])
@pytest.mark.one_in(2)
def test_mixed_precision_inverts_in_the_precision_of_the_data(name):
    """Within the budget of float32 networks, but for the few events that float32 noise carries across a step."""
    z = normal(8 * BATCH, SIZE)
    x, again, x_again, *log_dets = there_and_back(system(name).bijector, z)
    assert {a.dtype.name for a in (x, again, x_again, *log_dets)} == {"float32"}
    budget = BUDGETS[name, "float32"]
    for got, exact in ((again, z), (x_again, x)):
        errors = np.array([error(*pair) for pair in zip(got, exact, strict=True)])
        assert np.quantile(errors, 0.95) <= budget.round_trip
        assert errors.max() <= STEP
    assert np.quantile(np.abs(log_dets[0] + log_dets[1]), 0.95) <= 4 * budget.log_det
    # The same networks in float32: near, and not the same.
    exact_x, _, _, exact_log_det, _ = there_and_back(flow(name), z[:BATCH])
    values, log_det = MIXED_VALUES[name]
    assert 1e-4 < error(x[:BATCH], exact_x) <= values
    assert error(log_dets[0][:BATCH], exact_log_det) <= log_det


@pytest.mark.parametrize("name", ["RealNVP", "NeuralSplineFlow"])
def test_both_directions_of_a_coupling_round_its_network_alike(name):
    """In float64 no step is within reach of the noise, so 16 bits must cancel; with dropout and a context."""
    conditional = system(name, depth=8, context_shape=(3,), dropout=0.2)
    bijector = cast(conditional.bijector, jnp.float64)
    z, context = normal(BATCH, SIZE, dtype="float64"), normal(BATCH, 3, dtype="float64")
    key = jax.random.key(2)
    x, log_det = jax.jit(bijector.forward_and_log_det)(z, context, key=key)
    again, inverse_log_det = jax.jit(bijector.inverse_and_log_det)(x, context, key=key)
    assert error(again, z) < 1e-10
    assert error(-inverse_log_det, log_det) < 1e-10


@pytest.mark.parametrize("name", ["RealNVP", "NeuralSplineFlow", "MAF"])
def test_the_log_det_is_that_of_the_rounded_map(name):
    """One layer is triangular, so noise of 16 bits in the other elements of its Jacobian does not reach slogdet."""
    layer = system(name).bijector.layers[0].layers[0]
    layer = cast(layer.layers[0] if name == "MAF" else layer, jnp.float64)

    @jax.jit
    @jax.vmap
    def both(x):
        jacobian, log_det = jax.jacfwd(layer.inverse_and_log_det)(x)[0], layer.inverse_log_det(x)
        return log_det, jnp.linalg.slogdet(jacobian)[1]

    log_det, expected = both(normal(4, SIZE, dtype="float64"))
    np.testing.assert_allclose(log_det, expected, rtol=0, atol=1e-10)
    assert np.abs(log_det).min() > 1e-3


def test_without_a_compute_dtype_nothing_is_cast():
    net = scramble(dgm.nets.MLP(4, (3, 2), width=8, rngs=nnx.Rngs(0)), jax.random.key(0))
    x = normal(5, 4)
    hidden = x
    for linear in net.hidden:
        hidden = jax.nn.relu(hidden @ linear.kernel[...] + linear.bias[...][None])
    out = hidden @ net.last.kernel[...] + net.last.bias[...][None]
    np.testing.assert_array_equal(net(x), out.reshape(5, 3, 2))
    for name in ("RealNVP", "MAF"):
        bijector = system(name, None, depth=2).bijector
        assert "f16" not in nats.lower(bijector, normal(2, SIZE)).as_text()


def test_remat_is_the_same_gradient_in_less_memory():
    x, results, sizes = normal(512, SIZE, dtype="float64"), [], []
    for remat in (False, True):
        bijector = cast(system("RealNVP", None, depth=16, remat=remat).bijector, jnp.float64)
        compiled = nats.lower(bijector, x).compile()
        results.append(jax.tree.leaves(compiled(bijector, x)))
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    for got, right in zip(*results, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-12)
    assert sizes[1] < 0.5 * sizes[0], sizes


@pytest.mark.parametrize("name", MIXED)
def test_the_options_survive_saving(name, tmp_path):
    model = system(name, depth=2, remat=True)
    dgm.save(tmp_path / "model", model)
    loaded = dgm.load(tmp_path / "model")
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    assert loaded.bijector.layers[0].remat
    assert "bf16" in nats.lower(loaded.bijector, normal(2, SIZE)).as_text()


@pytest.mark.parametrize("name", MIXED)
def test_wrong_options_say_what_to_do(name):
    expected = r"compute_dtype: expected one of \['bfloat16', 'float16'\], or None .*, got 'bf16'"
    with pytest.raises(ValueError, match=expected):
        system(name, "bf16", depth=2)
    if name in COUPLINGS:
        with pytest.raises(ValueError, match="choose reversible or remat"):
            system(name, depth=2, reversible=True, remat=True)
