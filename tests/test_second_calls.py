"""Laws of models under the calls of a notebook: nothing compiles twice, nothing and one, classes, dtypes of events."""

import collections
import math
import pathlib

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions.flow import IID
from dgmjax.numerics import compiled
from dgmjax.testing import scramble
from tests.models import DENSITIES, MODELS

pytestmark = pytest.mark.usefixtures("x32")
SEED = jax.random.key(0)
# One row of every kind of program; the bases of distrax broadcast.
LIKE_ANOTHER = {
    "MAF, Jacobi",
    "RealNVP, context, reversible",
    "ResidualFlow, classes",
    "distrax inside, flow as base",
    "multivariate normal as base",
    "Dequantized",
    "StochasticFlow",
    "VAE, Gaussian",
    "VAE, flow posterior",
    "VAE, mixture prior",
    "VAE, convolutions",
    "IAFVAE, Gaussian",
    "PixelCNNpp, plain",
}


def made(name):
    return MODELS[name].make(nnx.Rngs(0))


@pytest.fixture(scope="module", params=[name for name in DENSITIES if name not in LIKE_ANOTHER])
def model(request, x32):
    return scramble(made(request.param), jax.random.key(1), scale=0.1)


@pytest.fixture
def compilations():
    """How often XLA was called, in a list of one number."""
    count = [0]

    def listen(event: str, duration: float, **kwargs) -> None:
        count[0] += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield count
    jax.monitoring.unregister_event_duration_listener(listen)


def levels_of(model):
    return getattr(model, "num_levels", None)


def events(model, *batch: int) -> np.ndarray:
    rng = np.random.RandomState(0)
    shape = (*batch, *model.event_shape)
    if levels_of(model) is None:
        return rng.uniform(0.1, 0.9, shape).astype(np.float32)
    return rng.randint(0, levels_of(model), shape)


def context(model, classes) -> dict:
    return {} if model.context_shape is None else {"context": classes}


def noise(model) -> dict:
    return {"seed": SEED} if dgm.objectives.bound_of(model).is_noisy else {}


def log_prob(model, x, classes=0):
    return model.log_prob(x, **context(model, classes), **noise(model))


def test_the_second_call_compiles_nothing(model, compilations):
    x = events(model, 3)
    calls = {
        "log_prob": lambda: log_prob(model, x),
        "sample": lambda: model.sample(seed=SEED, sample_shape=3, **context(model, 1)),
        "log_likelihood": lambda: dgm.log_likelihood(model, x, **context(model, 2), seed=SEED),
    }
    for name, call in calls.items():
        first = call()
        compilations[0] = 0
        again = call()
        assert compilations[0] == 0, name
        if name != "log_likelihood":
            np.testing.assert_array_equal(first, again)


def test_no_events_give_no_results(model):
    assert log_prob(model, events(model, 0)).shape == (0,)
    assert log_prob(model, events(model, 2, 0)).shape == (2, 0)
    none = model.sample(seed=SEED, sample_shape=0, **context(model, 1))
    assert none.shape == (0, *model.event_shape)


def test_one_event_has_no_standard_error(model):
    one = dgm.log_likelihood(model, events(model, 1), **context(model, 0), seed=SEED)
    assert math.isfinite(one.negative_log_likelihood)
    assert math.isnan(one.standard_error)
    assert "nan" in str(one)


def test_integers_are_classes(model):
    x = events(model, 3)
    if model.context_shape is None:
        with pytest.raises(ValueError, match="takes none|unexpected"):
            _refused(model, x)
        return
    one_hot = np.eye(3, dtype=np.float32)
    classes = np.array([2, 0, 1])
    expected = log_prob(model, x, one_hot[classes])
    np.testing.assert_allclose(log_prob(model, x, classes), expected, rtol=1e-6)
    assert not np.allclose(expected, log_prob(model, x, one_hot), rtol=1e-5)
    same = log_prob(model, x, one_hot[1])
    np.testing.assert_allclose(log_prob(model, x, 1), same, rtol=1e-6)
    samples = model.sample(seed=SEED, context=classes)
    assert samples.shape == (3, *model.event_shape)
    np.testing.assert_array_equal(samples, model.sample(seed=SEED, context=one_hot[classes]))
    with pytest.raises(ValueError, match=r"classes must lie in 0 \.\. 2"):
        log_prob(model, x, np.array([0, 1, 3]))
    with pytest.raises(ValueError, match="Integers are classes, one per value"):
        log_prob(model, x, one_hot.astype(int))
    with pytest.raises(TypeError, match=r"cast it with \.astype\(float\)"):
        log_prob(model, x, one_hot.astype(bool))


def _refused(model, x):
    try:
        model.log_prob(x, context=np.zeros(3, int), **noise(model))
    except TypeError as error:  # a model that never takes one
        raise ValueError(str(error)) from error


FLOATS = (np.float16, jnp.bfloat16, ">f4", ">f8", np.float64)
INTEGERS = (np.uint8, ">i4", np.int64, "<u2")


def test_events_of_any_dtype_are_events(model):
    """Each is converted to what the model computes in; the values are exact in all of these dtypes."""
    discrete = levels_of(model) is not None
    x = events(model, 3) if discrete else np.round(events(model, 3) * 8) / 8
    expected = log_prob(model, x)
    assert expected.dtype == jnp.float32
    for dtype in INTEGERS if discrete else FLOATS:
        got = log_prob(model, x.astype(dtype))
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, expected, err_msg=str(dtype))


def test_samples_of_grey_values_are_bytes(model):
    samples = model.sample(seed=SEED, sample_shape=3, **context(model, 1))
    assert samples.dtype == (jnp.float32 if levels_of(model) is None else jnp.uint8)


def test_masked_values_are_not_used(model):
    x = events(model, 3)
    hidden = np.ma.masked_array(x, mask=np.zeros(x.shape, bool))
    np.testing.assert_array_equal(log_prob(model, hidden), log_prob(model, x))
    hidden[1] = np.ma.masked
    with pytest.raises(TypeError, match="under the mask"):
        log_prob(model, hidden)


def test_more_than_256_levels_do_not_fit_in_bytes():
    model = dgm.Dequantized(dgm.Flow(dgm.Logit((2,), 300.0)), 300)
    assert model.sample(seed=SEED, sample_shape=(50,)).dtype == jnp.int32


def test_classes_are_classes_in_other_libraries_too(tmp_path):
    """distrax, numpyro and an exported artifact take the integers that the flow takes."""
    flow = scramble(made("RealNVP, classes"), jax.random.key(1))
    x, classes = jnp.ones((3, 3)), np.array([2, 0, 1])
    expected = flow.log_prob(x, classes)
    dgm.interop.export(flow, tmp_path / "artifact")
    found = {
        "distrax": dgm.to_distrax(flow, classes).log_prob(x),
        "numpyro": dgm.interop.to_numpyro(flow, classes).log_prob(x),
        "exported": dgm.interop.load_exported(tmp_path / "artifact").log_prob(x, classes),
    }
    for name, log_probs in found.items():
        np.testing.assert_allclose(log_probs, expected, rtol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match="classes must lie in"):
        dgm.to_distrax(flow, classes + 1)


def test_transformed_calls_compile_once_too(compilations):
    flow, x = made("RealNVP"), jnp.ones((4, 3))
    calls = {
        "vmap": lambda: jax.vmap(flow.log_prob)(x),
        "grad": lambda: jax.grad(lambda flow: flow.log_prob(x).sum())(flow),
        "temperature": lambda: [
            flow.sample(seed=SEED, sample_shape=2, temperature=t) for t in (0.5, 0.7)
        ],
    }
    for name, call in calls.items():
        call()
        compilations[0] = 0
        call()
        assert compilations[0] == 0, name


def test_scores_of_many_events_are_gradients_of_their_sum(model):
    """``vmap`` of ``grad`` of a method, as samplers call it, of reversible models too."""
    if levels_of(model) is not None:
        return
    x = events(model, 3)
    each = jax.vmap(jax.grad(lambda x: log_prob(model, x)))(x)
    total = jax.grad(lambda x: log_prob(model, x).sum())(x)
    np.testing.assert_allclose(each, total, rtol=2e-4, atol=2e-4)


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_two_thousand_pairs_of_calls_need_no_more_memory():
    flow, x = made("RealNVP"), jnp.ones((4, 3))

    def mebibytes() -> float:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    def pair(number: int) -> None:
        flow.log_prob(x)
        flow.sample(seed=jax.random.key(number), sample_shape=4)

    pair(0)
    before = mebibytes()
    for number in range(2_000):
        pair(number)
    assert mebibytes() - before < 200


def test_programs_and_their_shapes_are_bounded(monkeypatch):
    monkeypatch.setattr(compiled, "_programs", collections.OrderedDict())
    monkeypatch.setattr(compiled, "_MAX_PROGRAMS", 3)
    monkeypatch.setattr(compiled, "_MAX_SHAPES", 2)
    traced = []

    @compiled.compiled
    def add(x: jax.Array, number: int) -> jax.Array:
        traced.append((x.shape, number))
        return x + number

    for number in range(5):
        assert add(jnp.ones(2), number)[0] == 1 + number
    assert len(compiled._programs) == 3
    for size in (1, 2, 3, 4):
        add(jnp.ones(size), 4)
    seen = len(traced)
    add(jnp.ones(4), 4)
    assert len(traced) == seen, "the last shape is kept"
    add(jnp.ones(1), 4)
    assert len(traced) == seen + 1, "the first one is not"


def test_a_setting_is_part_of_the_program_and_a_number_is_not():
    traced = []

    @compiled.compiled
    def power(x: jax.Array, exponent: float = 2.0, *, scale: jax.typing.ArrayLike = 1.0):
        traced.append(exponent)
        return scale * x**exponent

    assert power(jnp.asarray(3.0)) == 9
    assert power(jnp.asarray(3.0), scale=2.0) == 18
    assert power(jnp.asarray(3.0), scale=0.5) == 4.5
    assert power(jnp.asarray(3.0), np.float32(3.0)) == 27
    assert len(traced) == 3, "without a scale, with one, with another exponent"
    with pytest.raises(TypeError, match="missing"):
        power()
    with pytest.raises(TypeError, match="multiple values"):
        power(jnp.ones(2), x=jnp.ones(2))


def test_bases_of_distrax_keep_their_parameters_as_arguments(compilations):
    """Two flows that differ in the parameters of their base only share a program."""
    layer = dgm.DiagonalLinear((2,))
    x = jnp.zeros((3, 2))
    flows = [
        dgm.Flow(layer, IID(distrax.Normal(jnp.asarray(loc), jnp.asarray(1.0)), (2,)))
        for loc in (0.0, 1.0)
    ]
    first = flows[0].log_prob(x)
    compilations[0] = 0
    second = flows[1].log_prob(x)
    assert compilations[0] == 0
    np.testing.assert_allclose(first - second, 1.0, rtol=1e-6)
