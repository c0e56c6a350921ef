"""Callables and objects where a name would do: they work, they are saved by name, and what has no name is refused."""

import dataclasses
import functools
import json
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.layers.serialization import callables
from dgmjax.layers.serialization.recorded import build, record_of
from dgmjax.testing import scramble

pytestmark = pytest.mark.usefixtures("x32")
HERE = __name__


class Convolution(nnx.Module):
    """A network of a user's, of a class that nobody decorated."""

    def __init__(self, in_shape, out_channels, *, context_size=0, width=3, rngs):
        assert context_size == 0
        self.first = nnx.Conv(in_shape[-1], width, (3, 3), rngs=rngs)
        self.last = nnx.Linear(width, out_channels, rngs=rngs)

    def __call__(self, kept):
        return self.last(jnp.tanh(self.first(kept)))


@dgm.recorded
class Forgetful(nnx.Module):
    """It has no use for its note once it is made."""

    def __init__(self, in_shape, out_channels, *, context_size=0, note=None, rngs):
        del note, context_size
        self.conv = nnx.Conv(in_shape[-1], out_channels, (3, 3), rngs=rngs)

    def __call__(self, kept):
        return self.conv(kept)


def vector_net(in_size, out_shape, *, context_size, rngs):
    return dgm.nets.MLP(in_size, out_shape, width=3, context_size=context_size, rngs=rngs)


def arctan_slope(x):
    return 1.0 / (1.0 + x**2)


def arcsinh(x):
    return jnp.arcsinh(x)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """``x = factor exp(p) z``: a transformer of a user's."""

    factor: float = 2.0
    num_params: int = dataclasses.field(default=1, init=False)

    def forward(self, z, params):
        log_scale = params[..., 0] + math.log(self.factor)
        return z * jnp.exp(log_scale), log_scale

    def inverse(self, x, params):
        log_scale = params[..., 0] + math.log(self.factor)
        return x * jnp.exp(-log_scale), -log_scale


# Name: the model, and the modules that loading it takes.
SAVED = {
    "MAF, a spline": (
        functools.partial(dgm.MAF, (3,), transformer=dgm.SplineTransformer(16, bound=8.0)),
        [],
    ),
    "MAF, a transformer of a user's": (
        functools.partial(dgm.MAF, (3,), transformer=Scaled(3.0), activation=jax.nn.mish),
        [HERE],
    ),
    "IAF, positive": (
        functools.partial(
            dgm.IAF,
            (2,),
            transformer=dgm.ComposedTransformer(
                [dgm.SoftplusTransformer(), dgm.AffineTransformer(scale_fn=jnp.tanh)]
            ),
        ),
        [],
    ),
    "RealNVP, an own network": (
        functools.partial(dgm.RealNVP, (4,), conditioner=vector_net, scale_fn=jnp.arctan),
        [HERE],
    ),
    "PlanarFlow, a nonlinearity": (
        functools.partial(
            dgm.PlanarFlow,
            (2,),
            h=dgm.bijectors.Nonlinearity(jnp.arctan, arctan_slope, 0.0, 1.0),
        ),
        [HERE],
    ),
    "Glow, an own network": (
        functools.partial(
            dgm.Glow, (4, 4, 1), levels=1, conditioner=functools.partial(Convolution, width=4)
        ),
        ["tests"],
    ),
    "Glow, a spline": (
        functools.partial(
            dgm.Glow, (2, 2, 1), levels=1, width=4, coupling=dgm.SplineTransformer(3)
        ),
        [],
    ),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_model_of_callables_is_saved_and_loaded(name, tmp_path):
    make, modules = SAVED[name]
    model = scramble(make(depth=2, rngs=nnx.Rngs(0)), jax.random.key(0), scale=0.2)
    x = model.sample(seed=jax.random.key(1), sample_shape=(3,))
    dgm.save(tmp_path / "model", model)
    loaded = dgm.load(tmp_path / "model", modules=modules)
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    np.testing.assert_array_equal(loaded.log_prob(x), model.log_prob(x))
    if modules:
        with pytest.raises(ValueError, match=rf"the module '{HERE}'.*modules=\['{HERE}'\]"):
            dgm.load(tmp_path / "model")


def test_a_model_is_saved_by_what_it_holds_where_an_argument_cannot_be_written(tmp_path):
    make = functools.partial(Forgetful, note=object())
    model = dgm.Glow((2, 2, 1), levels=1, depth=2, conditioner=make, rngs=nnx.Rngs(0))
    x = jnp.ones((3, 2, 2, 1), jnp.float32)
    dgm.save(tmp_path / "model", model)
    np.testing.assert_array_equal(dgm.load(tmp_path / "model").log_prob(x), model.log_prob(x))


def test_another_process_imports_what_is_allowed_and_nothing_else(tmp_path):
    (tmp_path / "my_nets.py").write_text(
        "print('imported')\nimport jax\ndef swish(x):\n    return x * jax.nn.sigmoid(x)\n"
    )
    make = (
        "import sys; sys.path.insert(0, '.'); import dgmjax as dgm; from flax import nnx; import my_nets;"
        "dgm.save('model', dgm.MAF((2,), depth=1, width=4, activation=my_nets.swish, rngs=nnx.Rngs(0)))"
    )
    load = (
        "import sys; sys.path.insert(0, '.'); import dgmjax as dgm\n"
        "try:\n    dgm.load('model')\nexcept ValueError as error:\n    print(error)\n"
        "print('my_nets' in sys.modules)\n"
        "print(dgm.load('model', modules='my_nets').bijector.layers[0].conditioner.activation.__name__)"
    )
    run = functools.partial(
        subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    run([sys.executable, "-c", make])
    lines = run([sys.executable, "-c", load]).stdout.splitlines()
    assert "'swish' of the module 'my_nets'" in lines[0]
    assert lines[1:] == ["False", "imported", "swish"]


REFUSED = {
    "a lambda": (
        lambda: dgm.MAF((2,), depth=1, width=4, activation=lambda x: x**3, rngs=nnx.Rngs(0)),
        r"MAF.activation: the callable .*<lambda> cannot be saved.*no lambda",
    ),
    "a function inside of another": (
        lambda: _with_local_activation(),
        r"RealNVP.activation: the callable .*locals.*cube cannot be saved.*at the top of a module",
    ),
    "a lambda in a dataclass": (
        lambda: dgm.Elementwise(dgm.AffineTransformer(lambda raw: raw), (2,)),
        "Elementwise.transformer.scale_fn: the callable .*<lambda> cannot be saved",
    ),
}


def _with_local_activation():
    def cube(x):
        return x**3

    return dgm.RealNVP((2,), depth=2, width=4, activation=cube, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_name_works_and_is_not_saved(name, tmp_path):
    make, message = REFUSED[name]
    model = make()
    call = model.forward if isinstance(model, dgm.Bijector) else model.log_prob
    assert np.isfinite(call(jnp.zeros((3, 2), jnp.float32))).all()
    with pytest.raises(TypeError, match=message):
        dgm.save(tmp_path / "model", model)


def test_arguments_of_a_partial_have_names():
    with pytest.raises(
        TypeError, match=r"here: .*vector_net with positional arguments.*by keyword"
    ):
        callables.encode_callable(functools.partial(vector_net, 1), lambda item, _: item, "here")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "'system' of the module 'os', which this call may not import"),
        ("jaxother:f", r"modules=\['jaxother'\]"),
        ("dgmjax.training.save:shutil.rmtree", "defines no 'shutil.rmtree'"),
        ("dgmjax.nets:Gone", "defines no 'Gone'"),
        ("dgmjax.gone:f", "'dgmjax.gone', which cannot be imported here"),
    ],
)
def test_names_lead_to_what_is_defined_there_only(name, message):
    with pytest.raises(ValueError, match=message):
        callables.find(name)


def test_names_are_those_of_public_modules():
    assert callables.name_of(jax.nn.mish) == "jax.nn:mish"
    assert callables.name_of(dgm.nets.MLP) == "dgmjax.nets:MLP"
    assert callables.name_of(dgm.SplineTransformer) == "dgmjax:SplineTransformer"
    assert callables.name_of(arcsinh) == f"{HERE}:arcsinh"
    assert callables.find(f"{HERE}:arcsinh", [HERE]) is arcsinh
    assert callables.name_of(Scaled().forward) is None


def test_a_dataclass_is_its_class_and_its_fields():
    layer = dgm.Elementwise(Scaled(5.0), (3,))
    record = json.loads(json.dumps(record_of(layer)))
    assert record["arguments"]["transformer"] == {
        "record": f"{HERE}:Scaled", "fields": {"factor": 5.0},
    }  # fmt: skip
    for one in (record, record_of(layer, by_structure=True)):
        assert build(one, rngs=nnx.Rngs(0), modules=[HERE]).transformer == Scaled(5.0)
    with pytest.raises(ValueError, match="is no frozen dataclass"):
        callables.decode_record({"record": "dgmjax.nets:MLP", "fields": {}}, lambda item: item, [])


TRANSFORMERS = {
    "a class": (dgm.SoftplusTransformer, "got the class SoftplusTransformer"),
    "no transformer": (jnp.tanh, "expected an elementwise bijector"),
}
TAKES_ONE = {
    "Elementwise": lambda t: dgm.Elementwise(t, (2,)),
    "Coupling": lambda t: dgm.Coupling(
        (2,), mask="half", make_conditioner=dgm.nets.MLP, transformer=t
    ),
    "ImageCoupling": lambda t: dgm.ImageCoupling(
        (2, 2, 2), mask="channel", make_conditioner=dgm.nets.ConvNet, transformer=t
    ),
    "MaskedAutoregressive": lambda t: dgm.MaskedAutoregressive(
        (2,), transformer=t, width=3, rngs=nnx.Rngs(0)
    ),
    "MAF": lambda t: dgm.MAF((2,), transformer=t, rngs=nnx.Rngs(0)),
    "ComposedTransformer": lambda t: dgm.ComposedTransformer((t,)),
}


@pytest.mark.parametrize("case", TRANSFORMERS)
@pytest.mark.parametrize("name", TAKES_ONE)
def test_what_is_no_transformer_is_refused(name, case):
    value, message = TRANSFORMERS[case]
    with pytest.raises(TypeError, match=f"{name}: transformer: .*{message}"):
        TAKES_ONE[name](value)


def test_a_transformer_has_a_hash():
    @dataclasses.dataclass
    class Mutable:
        num_params: int = 1
        forward = inverse = Scaled.forward

    with pytest.raises(TypeError, match="Mutable has no hash.*frozen dataclass"):
        dgm.Elementwise(Mutable(), (2,))
    with pytest.raises(ValueError, match="at least one"):
        dgm.ComposedTransformer(())


def test_an_activation_is_a_name_or_a_function_without_parameters():
    x = jnp.linspace(-1.0, 1.0, 6, dtype=jnp.float32).reshape(3, 2)
    named, called = (
        dgm.nets.MLP(2, (2,), width=4, zero_init=False, activation=a, rngs=nnx.Rngs(0))
        for a in ("silu", jax.nn.silu)
    )
    np.testing.assert_array_equal(named(x), called(x))
    with pytest.raises(ValueError, match="unknown name 'swish'.*or a function"):
        dgm.nets.MLP(2, (2,), width=4, activation="swish", rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="activation: expected a name or a function"):
        dgm.nets.MLP(2, (2,), width=4, activation=3, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="got the module PReLU"):
        dgm.nets.MLP(2, (2,), width=4, activation=nnx.PReLU(), rngs=nnx.Rngs(0))


def test_a_nonlinearity_is_a_name_or_says_its_slopes():
    with pytest.raises(TypeError, match="expected a name or a dgmjax.bijectors.Nonlinearity"):
        dgm.Planar((2,), h=jnp.tanh, rngs=nnx.Rngs(0))


def test_a_scale_is_a_name_or_a_function():
    layers = [dgm.Elementwise(dgm.AffineTransformer(f), (2,)) for f in ("exp", lambda raw: raw)]
    x = jnp.asarray([[0.5, -1.0]], jnp.float32)
    np.testing.assert_array_equal(*(scramble(b, jax.random.key(0)).inverse(x) for b in layers))
    with pytest.raises(ValueError, match="unknown name 'none'.*or a function"):
        dgm.AffineTransformer("none")
    with pytest.raises(TypeError, match="scale_fn: expected a name or a function"):
        dgm.MixtureCDFTransformer(3, 1.0)
