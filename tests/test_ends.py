"""Ends and infinities: log-densities are -inf there, never NaN; NaN gives NaN; gradients are finite or zero."""

import functools
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from tests.instances import Instance
from tests.rows import BIJECTORS

INF, MAX = np.inf, float(np.finfo(np.float32).max)
BEYOND = [-INF, INF, -MAX, MAX, -3e38, 3e38]  # of every density below
ENDS = [0.0, 1.0, -1.0, 7.0, 17.0, 256.0, -1e-6, 1e4, 1e10, -1e15, 1e25, -1e30]


class Row(NamedTuple):
    """A density, an ordinary event, and where an element of an event is at an end or outside."""

    model: Any
    x: np.ndarray
    outside: tuple[float, ...] = ()
    context: np.ndarray | None = None


OUTSIDE = {
    "softplus": (0.0, -1e-6, -5.0),
    "sigmoid": (0.0, 1.0, -0.1, 1.5),
    "tanh": (-1.0, 1.0, 3.0, -1e4),
    "logit": (-100.0, 400.0),
    "logit, large alpha": (-2.0, 7.0),
    "logit, tiny alpha, image": (-1.0, 18.0),
    "histogram": (-1.0, 8.0),
    "histogram, uniform": (-1.0, 18.0),
    "chain": (-2.0, 11.0),
    "inverse cdf, half line": (0.0, -1.0),
    "logit, no alpha": (0.0, 1.0, 3.0, -2.0),
    "logit, no alpha, levels": (0.0, 256.0, 257.0, -2.0),
}


def of_bijector(name: str, instance: Instance) -> Row:
    layer = cast(scramble(instance.make(nnx.Rngs(1)), jax.random.key(1)), jnp.float32)
    shape = tuple(layer.event_shape)
    x = np.asarray(instance.data(jax.random.key(2), shape), np.float32)
    context = None
    if instance.context_shape is not None:
        context = np.random.RandomState(0).normal(size=instance.context_shape).astype(np.float32)
    return Row(dgm.Flow(layer), x, OUTSIDE.get(name, ()), context)


LAYERS: dict[str, Any] = {
    "logit, no alpha": lambda: dgm.Logit((2,), 1.0, alpha=0.0),
    "logit, no alpha, levels": lambda: dgm.Logit((2,), 256.0, alpha=0.0),
    "inverse cdf, half line": lambda: dgm.layers.InverseCDF(
        distrax.Gamma(jnp.float32(0.7), jnp.float32(1.5)), (2,), support=(0.0, INF)
    ),
    "inverse cdf, mixture": lambda: dgm.layers.InverseCDF(
        distrax.MixtureSameFamily(
            distrax.Categorical(logits=jnp.zeros(2, jnp.float32)),
            distrax.Normal(jnp.asarray([-1.0, 1.0], jnp.float32), jnp.float32(0.1)),
        ),
        (2,),
    ),
    "sigmoid, then a coupling": lambda: dgm.Chain(
        [
            dgm.Elementwise(dgm.SigmoidTransformer(), (2,)),
            dgm.RealNVP((2,), depth=2, width=4, rngs=nnx.Rngs(0)).bijector,
        ]
    ),
    "inverse of a chain": lambda: dgm.Inverse(
        dgm.RealNVP((2,), depth=4, width=4, rngs=nnx.Rngs(0)).bijector
    ),
}
OUTSIDE["sigmoid, then a coupling"] = OUTSIDE["sigmoid"]


def of_layer(name: str) -> Row:
    layer = scramble(LAYERS[name](), jax.random.key(1))
    return Row(dgm.Flow(layer), np.full((2,), 0.4, np.float32), OUTSIDE.get(name, ()))


VECTOR = {"width": 4, "hidden_layers": 1}
MODELS: dict[str, Any] = {
    "RealNVP": lambda r: dgm.RealNVP((3,), depth=3, **VECTOR, rngs=r),
    "RealNVP, reversible": lambda r: dgm.RealNVP((4,), depth=4, reversible=True, **VECTOR, rngs=r),
    "RealNVP, standardized, softplus": lambda r: dgm.RealNVP(
        (2,), depth=2, scale_fn="softplus", preprocess=dgm.Standardize((2,)), **VECTOR, rngs=r
    ),
    "RealNVP, bfloat16": lambda r: dgm.RealNVP(
        (2,), depth=2, compute_dtype="bfloat16", **VECTOR, rngs=r
    ),
    "NICE": lambda r: dgm.NICE((3,), depth=2, **VECTOR, rngs=r),
    "MAF": lambda r: dgm.MAF((3,), depth=3, **VECTOR, rngs=r),
    "MAF, spline": lambda r: dgm.MAF((3,), depth=2, transformer="spline", **VECTOR, rngs=r),
    "IAF": lambda r: dgm.IAF((4,), depth=2, **VECTOR, rngs=r),
    "IAF, jacobi, gated": lambda r: dgm.IAF(
        (3,), depth=2, sequential="jacobi", transformer="gated", **VECTOR, rngs=r
    ),
    "NeuralSplineFlow": lambda r: dgm.NeuralSplineFlow((4,), depth=2, **VECTOR, rngs=r),
    "PlanarFlow": lambda r: dgm.PlanarFlow((3,), depth=3, rngs=r),
    "PlanarFlow, sampling, softplus": lambda r: dgm.PlanarFlow(
        (3,), depth=3, fast="sampling", h="softplus", rngs=r
    ),
    "RadialFlow": lambda r: dgm.RadialFlow((3,), depth=3, rngs=r),
    "RadialFlow, sampling": lambda r: dgm.RadialFlow((3,), depth=3, fast="sampling", rngs=r),
    "ResidualFlow": lambda r: dgm.ResidualFlow((2,), depth=2, width=4, rngs=r),
    "Glow": lambda r: dgm.Glow((4, 4, 2), levels=2, depth=1, width=4, rngs=r),
    "RealNVP, images": lambda r: dgm.ImageRealNVP(
        (4, 4, 1), depth=2, normalization="none", **VECTOR, rngs=r
    ),
    "flow under a flow": lambda r: dgm.Flow(
        dgm.ActNorm((2,)), dgm.RealNVP((2,), depth=2, **VECTOR, rngs=r)
    ),
    "narrow base": lambda r: dgm.Flow(
        dgm.ActNorm((2,)),
        dgm.distributions.IID(distrax.Normal(jnp.float32(0.0), jnp.float32(0.3)), (2,)),
    ),
    "StochasticFlow": lambda r: dgm.distributions.StochasticFlow(
        [
            dgm.Standardize((4,)),
            dgm.distributions.Slice(
                (4,), 2, dgm.RealNVP((2,), depth=2, context_shape=(2,), **VECTOR, rngs=r)
            ),
            dgm.ActNorm((2,)),
        ]
    ),
}


def of_model(name: str) -> Row:
    model = scramble(MODELS[name](nnx.Rngs(0)), jax.random.key(1), scale=0.1)
    model = cast(model, jnp.float32)
    x = np.random.RandomState(0).normal(size=model.event_shape).astype(np.float32)
    return Row(model, x)


@functools.partial(jax.jit, static_argnames="scale")
def program(model: Any, x: jax.Array, context: Any, key: jax.Array, *, scale: float):
    """Log-densities, their gradients for all and for the first event, and those of samples of a wide base."""

    leaves, tree = jax.tree.flatten(model)
    inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def log_prob(numbers: list[jax.Array], x: jax.Array) -> jax.Array:
        numbers = iter(numbers)
        merged = [next(numbers) if b else a for a, b in zip(leaves, inexact, strict=True)]
        model = jax.tree.unflatten(tree, merged)
        return model.log_prob(x) if context is None else model.log_prob(x, context)

    numbers = [leaf for leaf, b in zip(leaves, inexact, strict=True) if b]
    values, pull = jax.vjp(log_prob, numbers, x)
    first = jnp.arange(len(x)) == 0
    gradients = [pull(weight.astype(values.dtype)) for weight in (jnp.ones(len(x)), first)]
    if isinstance(model, dgm.distributions.StochasticFlow):
        samples = model.sample(seed=key, sample_shape=(50,), temperature=scale)
    else:
        options = {} if context is None else {"context": context}
        samples = model.sample(seed=key, sample_shape=(50,), temperature=scale, **options)
    return values, gradients, samples, log_prob(numbers, samples)


def batch_of(row: Row) -> tuple[np.ndarray, dict[str, slice]]:
    """Events that differ from the ordinary one in their first element, or the last, or all."""
    rows, parts = [row.x], {}
    for part, numbers in (("beyond", BEYOND), ("outside", row.outside), ("ends", ENDS)):
        start = len(rows)
        for number in numbers:
            for place in (0, -1, slice(None)):
                x = row.x.copy()
                x.reshape(-1)[place] = number
                rows.append(x)
        parts[part] = slice(start, len(rows))
    start = len(rows)
    for other in (row.x.flat[0], INF):
        x = np.full_like(row.x, other)
        x.reshape(-1)[-1] = np.nan
        rows.append(x)
    parts["nan"] = slice(start, len(rows))
    return np.stack(rows), parts


def check(row: Row, scale: float, *, samples_stay_inside: bool = True) -> None:
    x, parts = batch_of(row)
    key = jax.random.key(3)
    values, gradients, samples, of_samples = jax.device_get(
        program(row.model, x, row.context, key, scale=scale)
    )
    assert np.isfinite(values[0])
    assert (values[parts["beyond"]] == -np.inf).all()
    assert (values[parts["outside"]] == -np.inf).all()
    assert np.isnan(values[parts["nan"]]).all()
    assert not np.isnan(values[parts["ends"]]).any()
    assert (values[: parts["ends"].stop] < np.inf).all()
    for by_all, by_first in zip(*map(jax.tree.leaves, gradients), strict=True):
        assert np.isfinite(by_all).all()
        assert np.isfinite(by_first).all()
    of_x = gradients[0][1].reshape(len(x), -1)
    assert (of_x[values == -np.inf] == 0).all()
    assert not np.isnan(samples).any()
    assert not np.isnan(of_samples).any()
    if samples_stay_inside:
        assert np.isfinite(of_samples).all()


EASY = [name for name in BIJECTORS if name not in OUTSIDE]


@pytest.mark.parametrize("name", OUTSIDE)
def test_ends_of_layers(name, x32):
    check(of_layer(name) if name in LAYERS else of_bijector(name, BIJECTORS[name]), 20.0)


@pytest.mark.parametrize("name", [*EASY, *(name for name in LAYERS if name not in OUTSIDE)])
@pytest.mark.one_in(4)
def test_infinities_and_layers(name, x32):
    row = of_layer(name) if name in LAYERS else of_bijector(name, BIJECTORS[name])
    # Those of distrax round to the ends themselves, those of a Glow with random weights to others of density 0.
    check(row, 20.0, samples_stay_inside=name not in ("from distrax", "glow"))


@pytest.mark.parametrize("name", MODELS)
def test_infinities_and_models(name, x32):
    check(of_model(name), 2.0)


# Functions of one number: the function, its parameters, and where it is -inf.
D = dgm.densities
MIXTURE = jnp.zeros(2), jnp.asarray([-0.5, 2.0]), jnp.asarray([-1.0, 0.3])
PIXEL = (jnp.asarray([0.1, 0.2, -0.3, 0.4, 1.0, 0.0]),)


def never(number: float) -> bool:
    del number
    return False


def no_level(number: float) -> bool:
    return not 0 <= number <= 2


def far(number: float) -> bool:
    return abs(number) > 1e20


def spread(parameters: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.broadcast_to(parameters, (*y.shape, *parameters.shape))


def truncated(name: str) -> Any:
    return functools.partial(getattr(D, f"truncated_normal_{name}"), low=0.0, high=2.0)


ELEMENTWISE: dict[str, tuple[Any, tuple, Any]] = {
    f"truncated normal {name}": (
        truncated(name),
        (0.3, -1.0),
        no_level if name == "log_prob" else never,
    )
    for name in ("log_prob", "cdf", "icdf")
} | {
    "logit-normal log_prob": (D.logit_normal_log_prob, (0.3, -1.0), lambda x: not 0 < x < 1),
    "normal log_prob": (D.normal_log_prob, (0.3, -1.0), far),
    "normal mixture log_prob": (D.normal_mixture_log_prob, MIXTURE, far),
    "normal mixture log_cdf": (
        lambda *a: D.normal_mixture_log_tails(*a)[0],
        MIXTURE,
        lambda x: x < -1e20,
    ),
    "normal mixture log_sf": (
        lambda *a: D.normal_mixture_log_tails(*a)[1],
        MIXTURE,
        lambda x: x > 1e20,
    ),
    "logistic mixture logit": (
        lambda *a: D.logistic_mixture_logit_cdf(*a)[0],
        MIXTURE,
        np.isneginf,
    ),
    "logistic mixture slope": (lambda *a: D.logistic_mixture_logit_cdf(*a)[1], MIXTURE, never),
    "discretized mixture": (
        lambda y, *a: D.discretized_logistic_mixture_log_prob(y, 3, *a),
        MIXTURE,
        no_level,
    ),
    "pixel": (lambda y, p: D.rgb_mixture_log_prob(y[..., None], 3, spread(p, y)), PIXEL, no_level),
    "pixel, given earlier channels": (
        lambda y, p: D.rgb_mixture_conditional_log_prob(y[..., None], 3, spread(p, y))[..., 0],
        PIXEL,
        no_level,
    ),
    "categorical pixel": (
        lambda y, p: D.categorical_pixel_log_prob(y[..., None], 3, spread(p[:3], y)),
        PIXEL,
        no_level,
    ),
}
NUMBERS = [-INF, -3e38, -1e30, -1.0, -1e-3, 0.0, 1.0, 2.0, 2.1, 3.0, 1e4, 1e30, 3e38, INF]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_of_one_number(name, x32):
    function, parameters, impossible = ELEMENTWISE[name]
    parameters = [jnp.asarray(p, jnp.float32) for p in parameters]

    @jax.jit
    def program(x, parameters, weights):
        def weighted(x, parameters):
            values = function(x, *parameters)
            return (jnp.where(jnp.isfinite(values), values, 0.0) * weights).sum(), values

        gradients, values = jax.grad(weighted, (0, 1), has_aux=True)(x, parameters)
        return values, gradients

    x = jnp.asarray(NUMBERS, jnp.float32)
    for weights in (jnp.ones_like(x), jnp.zeros_like(x)):
        values, gradients = program(x, parameters, weights)
        assert not np.isnan(values).any()
        assert np.array_equal(np.isneginf(values), [impossible(number) for number in NUMBERS])
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    values, _ = program(x.at[2].set(jnp.nan), parameters, jnp.ones_like(x))
    assert np.isnan(values[2])
    assert not np.isnan(np.delete(values, 2)).any()
    values, _ = program(x, [p * jnp.nan for p in parameters], jnp.ones_like(x))
    assert np.isnan(values).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_bins_of_a_spline_are_told_apart(dtype):
    """Near the bound a step of bfloat16 is wider than the narrowest bins."""
    spline = dgm.bijectors.SplineTransformer(32, bound=8.0)
    params = 20 * np.random.RandomState(0).normal(size=(400, spline.num_params))
    x = np.linspace(-7.9, 7.9, 400)
    x, params = (jnp.asarray(a).astype(dtype) for a in (x, params))
    z, log_derivative = spline.inverse(x, params)
    assert z.dtype == log_derivative.dtype == dtype
    assert jnp.isfinite(z).all()
    assert jnp.isfinite(log_derivative).all()
    with jax.enable_x64(True):  # noqa: FBT003
        exact, _ = spline.inverse(*(np.asarray(a).astype(np.float64) for a in (x, params)))
        exact = np.asarray(exact)
    error = np.abs(np.asarray(z).astype(np.float64) - exact)
    assert error.max() < max(16 * float(jnp.finfo(dtype).eps), 1e-4)
    fine = dgm.bijectors.SplineTransformer(4, min_bin=1e-8)
    with pytest.raises(ValueError, match="1e-08 of the width are narrower than 8 steps of float32"):
        fine.forward(x, params[:, : fine.num_params])


# Data that float32 holds, whose squares or sums it does not; a mean that is far from the spread.
SCALES = {
    "1e-30": (0.0, 1e-30),
    "1e-20": (3e-20, 1e-20),
    "1e20": (-1e20, 1e20),
    "1e30": (1e30, 1e30),
    "1e38": (0.0, 5e37),
    "far from 0": (1e8, 300.0),
}


def data_of(scale: str, shape: tuple[int, ...]) -> np.ndarray:
    mean, std = SCALES[scale]
    noise = np.random.RandomState(0).normal(size=shape)
    return (mean + std * noise).astype(np.float32)


@pytest.mark.parametrize("scale", SCALES)
def test_statistics_at_any_scale(scale, x32):
    """Mean 0 and variance 1 after the layers that standardize; the same directions of the channels as at scale 1."""
    x = data_of(scale, (500, 3))
    for layer in (dgm.Standardize((3,)), dgm.ActNorm((3,))):
        z, log_det = layer.with_data_init(jnp.asarray(x)).inverse_and_log_det(jnp.asarray(x))
        # Around 1e8 the numbers of float32 are 8 apart.
        assert np.allclose(z.mean(0), 0.0, atol=0.05)
        assert np.allclose(z.std(0), 1.0, rtol=1e-3)
        expected = -np.log(x.astype(np.float64).std(0)).sum()
        assert np.allclose(log_det, expected, rtol=1e-4, atol=1e-3)
    noise = data_of("1e20", (4, 3, 3, 2)) / np.float32(1e20)
    noise[..., 1] *= 4
    axes = dgm.bijectors.principal_axes
    spread = np.float32(SCALES[scale][1])
    if scale != "1e38":
        assert np.allclose(axes(jnp.asarray(noise * spread)), axes(jnp.asarray(noise)), atol=1e-4)


@pytest.mark.parametrize("scale", SCALES)
def test_batch_norm_normalizes_or_refuses_by_name(scale, x32):
    x = jnp.asarray(data_of(scale, (200, 2)))
    layer = dgm.BatchNorm((2,))
    if scale != "far from 0":
        with pytest.raises(
            ValueError, match=r"feature 0 has a standard deviation of .* dgmjax\.Standardize"
        ):
            layer.with_data_init(x)
    else:
        z = layer.with_data_init(x).inverse(x)
        assert np.allclose(z.std(0), 1.0, rtol=1e-3)
    # In a compiled step, which cannot refuse, all stays finite.
    z, log_det, new = jax.jit(lambda layer, x: layer.inverse_and_update(x))(layer, x)
    assert all(np.isfinite(a).all() for a in (z, log_det, *jax.tree.leaves(new)))


@pytest.mark.parametrize("scale", SCALES)
def test_a_flow_is_fitted_to_data_of_any_scale(scale, x32):
    x = data_of(scale, (256, 2))
    flow = dgm.RealNVP((2,), depth=2, width=4, preprocess=dgm.Standardize((2,)), rngs=nnx.Rngs(0))
    flow = flow.with_data_init(jnp.asarray(x))
    loss, gradient = jax.jit(
        jax.value_and_grad(lambda bijector: -dgm.Flow(bijector, flow.base).log_prob(x).mean())
    )(flow.bijector)
    std = x.astype(np.float64).std(0)
    assert np.allclose(loss, np.log(2 * np.pi * np.e) + np.log(std).sum(), rtol=1e-3, atol=1e-2)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_dequantized_levels_that_do_not_exist(x32):
    """Integers outside have no probability, whatever the number of samples; their neighbours keep theirs."""
    model = dgm.Dequantized(
        dgm.Flow(dgm.Chain([dgm.Logit((2,), 3.0, alpha=0.0), dgm.ActNorm((2,))])), 3
    )
    y = jnp.asarray([[0, 2], [-1, 0], [1, 3], [2**31 - 1, 0]])

    def log_prob(actnorm, num_samples):
        density = dgm.Flow(dgm.Chain([model.density.bijector.layers[0], actnorm]))
        seed = jax.random.key(0)
        return dgm.Dequantized(density, 3).log_prob(y, seed=seed, num_samples=num_samples)

    actnorm = model.density.bijector.layers[1]
    for num_samples in (1, 4):
        values, pull = jax.vjp(lambda a, n=num_samples: log_prob(a, n), actnorm)
        assert np.isfinite(values[0])
        assert (values[1:] == -np.inf).all()
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(pull(jnp.ones(4))))


def test_parameters_that_are_nan_are_not_taken_for_an_end(x32):
    flow = dgm.RealNVP((2,), depth=2, **VECTOR, rngs=nnx.Rngs(0))
    x = jnp.asarray([[0.1, 0.2], [np.inf, 0.0], [0.0, 3e38]])
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, flow.bijector)
    assert np.isnan(dgm.Flow(broken, flow.base).log_prob(x)).all()


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ((0.0, 1e40), r"x hold .*e\+40, which is infinite in float32; divide them by their scale"),
        ((0.0, 1e-60), r"element \(0,\) of x varies from .*, which is one number in float32"),
        ((1e8, 1e-3), r"element \(0,\) of x varies from .*, which is one number in float32"),
    ],
)
def test_numbers_that_the_model_cannot_hold_are_refused(scale, message, x32):
    x = scale[0] + scale[1] * np.random.RandomState(0).normal(size=(20, 2))
    flow = dgm.RealNVP((2,), depth=2, **VECTOR, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=message):
        dgm.fit(flow, x, seed=jax.random.key(0), steps=1)
