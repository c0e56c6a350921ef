"""Settings are the arguments of constructors; what a system has no use for is refused."""

import collections.abc
import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import jax
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from experiments.commands import train
from experiments.configs import config_names, load_config
from experiments.settings.config import config_from_dict
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.derived import Settings, command_line_type, sentence, settings_of
from experiments.settings.smoke import smoke
from experiments.settings.systems import SYSTEMS

pytestmark = pytest.mark.usefixtures("x32")

ALL = {**SYSTEMS, "noise": DequantizationConfig}
# Options that are no argument of the constructor: of losses, of what a model is given, of the kind of noise.
EXTRA = {
    "system", "preprocess", "alpha", "pseudo_count", "beta", "warmup_steps", "free_bits", "prior",
    "prior_components", "prior_depth", "prior_width", "saturating", "r1", "noise", "smoothing",
    "discriminator_rate", "kind", "scale",
}  # fmt: skip
OTHERS = (dgm.Logit, dgm.HistogramGaussianize, dgm.objectives.NegativeELBO, dgm.GaussianNoise,
          dgm.objectives.adversarial_losses)  # fmt: skip


def parameters(source):
    made_by = source.__init__ if inspect.isclass(source) else source
    return inspect.signature(made_by).parameters


@pytest.mark.parametrize("system", ALL)
def test_every_field_is_an_argument_with_its_default(system):
    cls = ALL[system]
    known = parameters(cls.constructor)
    for field in dataclasses.fields(cls):
        if field.name in cls.arguments:
            assert field.default == known[field.name].default, field.name
        else:
            assert field.name in EXTRA, field.name
            for other in OTHERS:
                if field.name in parameters(other) and field.name != "kind":
                    assert field.default == parameters(other)[field.name].default, field.name


def help_texts(cls):
    """The help of every field: of its type, or the docstring below it."""
    hints = typing.get_type_hints(cls, include_extras=True)
    bases = [base for base in cls.__mro__ if issubclass(base, Settings)]
    source = "\n".join(map(inspect.getsource, bases))
    for field in dataclasses.fields(cls):
        given = [
            getattr(part, "help", None) for part in getattr(hints[field.name], "__metadata__", ())
        ]
        below = re.search(
            rf'^    {field.name}:(?:(?!\n    \w).)*?\n    """(.*?)"""',
            source,
            re.DOTALL | re.MULTILINE,
        )
        yield field.name, next(filter(None, given), None) or (below and below[1])


@pytest.mark.parametrize("system", ALL)
def test_every_option_has_a_sentence_of_help(system):
    for name, text in help_texts(ALL[system]):
        if name == "system":
            continue
        assert text, name
        assert text.endswith("."), (name, text)
        assert text[0].isupper() or text[0].isdigit(), (name, text)
        first = text.split()[0].rstrip(":;,.")
        assert first not in {"What", "Of", "That", "Which", "One", "Those", "Whose", "Its"}, text
        assert "`" not in text


def fits(value, kind):
    inside = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return value in inside
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in inside)
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(fits(one, inside[0]) for one in value)
    return isinstance(value, (int, float) if kind is float else kind)


@pytest.mark.parametrize("name", config_names())
def test_values_of_configs_can_be_typed(name):
    for settings in (load_config(name).model, load_config(name).dequantization):
        kinds = typing.get_type_hints(type(settings))
        for field in dataclasses.fields(settings):
            assert fits(getattr(settings, field.name), kinds[field.name]), field.name


def parameter(annotation, default=None):
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter("x", kind, annotation=annotation, default=default)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, int),
        (float | None, float | None),
        (Literal["a", "b"], Literal["a", "b"]),
        (str | Callable[[int], int], str),
        (str | np.ndarray | Sequence[bool] | None, str | None),
        (Sequence[int], tuple[int, ...]),
        (collections.abc.Sequence[int] | None, tuple[int, ...] | None),
        (tuple[int, int], tuple[int, int]),
        (dgm.Bijector | None, None),
        (Callable[..., int] | None, None),
        (typing.Any, None),
        (dict[str, int], None),
    ],
)
def test_types_are_what_a_command_line_can_give(annotation, expected):
    assert command_line_type(parameter(annotation)) == expected


def test_names_in_a_description_are_the_choices():
    described = 'either ``"a"`` or ``"b"``, see `there`.'
    assert command_line_type(parameter(str, "b"), described) == Literal["a", "b"]
    assert command_line_type(parameter(str | None), described) == (Literal["a", "b"] | None)
    # One name, or none that is the default, is an example.
    assert command_line_type(parameter(str, "c"), described) is str
    assert command_line_type(parameter(str, "a"), 'such as ``"a"``.') is str
    assert command_line_type(parameter(str, inspect.Parameter.empty), described) is None


def test_descriptions_become_sentences():
    assert sentence("batch_norm", "of the `generator`.") == "Batch norm of the generator."
    assert sentence("coupling", '``"a"`` or ``"b"``.') == "Coupling: a or b."
    assert sentence("depth", "number of ``n`` layers.") == "Number of n layers."


def test_a_class_may_narrow_an_argument_and_add_fields():
    def make(event_shape, width: int = 3, kind: str = "a", net: Callable | None = None):
        """Make.

        Args:
          event_shape: shape.
          width: units, of which
            there are many.
          kind: of it.
          net: yours.
        """

    def loss(rate: float = 0.5, other: int = 1):
        """Loss."""

    @settings_of(make, also=[loss], leave_out=["other"])
    class Mine(Settings):
        kind: Literal["a", "b"]
        more: int = 7

    assert dataclasses.asdict(Mine()) == {"kind": "a", "more": 7, "width": 3, "rate": 0.5}
    assert Mine(width=4).given() == {"width": 4, "kind": "a"}
    assert Mine.constructor is make
    hints = typing.get_type_hints(Mine, include_extras=True)
    assert typing.get_origin(hints["width"]) is Annotated
    assert hints["width"].__metadata__[0].help == "Units, of which there are many."
    with pytest.raises(dataclasses.FrozenInstanceError):
        Mine().width = 5


def data(levels):
    x = np.zeros((4, 4, 8, 1), np.float32 if levels is None else np.uint8)
    labels = {split: np.arange(4) for split in ("train", "validation", "test")}
    return dgm.data.Dataset("images", x, x, x, levels, (4, 8, 1), labels)


WITH_NOISE = {
    "realnvp", "nice", "spline", "maf", "iaf", "planar", "radial", "residual", "realnvp_images",
    "glow", "flowpp",
}  # fmt: skip


@pytest.mark.parametrize("levels", [3, None])
@pytest.mark.parametrize("kind", ["truncated_normal", "variational", "gaussian"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_noise_is_refused_where_nothing_is_dequantized(system, kind, levels):
    config, noise = SYSTEMS[system](), DequantizationConfig(kind=kind)

    def check():
        config.check(data(levels), conditional=False, dequantization=noise)

    if system in WITH_NOISE and levels:
        check()
        return
    takes = "continuous data" if system in WITH_NOISE else "data as they are"
    with pytest.raises(ValueError, match=f"'{kind}' is noise of flows on integers") as found:
        check()
    assert f"and {system} on images takes {takes}; leave --dequantization.kind out" in str(
        found.value
    )
    named = str(found.value).split("are ")[-1].rstrip(".").split(", ")
    assert set(named) == WITH_NOISE


@pytest.mark.parametrize("system", SYSTEMS)
def test_labels_are_refused_where_the_constructor_takes_none(system):
    config = SYSTEMS[system]()
    takes = "context_shape" in parameters(config.constructor) or config.uses_labels

    def check():
        config.check(data(3), conditional=True, dequantization=DequantizationConfig())

    if takes:
        check()
        return
    with pytest.raises(ValueError, match=f"{system} takes no labels; leave --conditional out"):
        check()


def test_a_run_of_another_version_says_so():
    settings = json.loads(json.dumps(train.settings_of(load_config("resnet_digits"))))
    del settings["model"]["units"]
    assert config_from_dict(settings).model.units == (5, 5, 5)  # written before there was a choice
    old = settings | {"model": settings["model"] | {"depth": 5, "width": 8}}
    with pytest.raises(ValueError, match="PreActResNetConfig has no depth, width in model"):
        config_from_dict(old)
    other = settings | {"model": {"system": "vqvae"}}
    with pytest.raises(ValueError, match="no system 'vqvae'"):
        config_from_dict(other)


def test_small_versions_have_as_many_stages():
    """What is a tuple of sizes is smaller number by number, or by its first numbers."""
    revnet = smoke(load_config("revnet38_cifar10")).model
    assert (revnet.units, revnet.filters) == ((2, 2, 2), (16, 32, 64, 112))
    assert smoke(load_config("flowpp_mnist")).model.couplings == (2, 1, 1)
    assert smoke(load_config("dcgan_mnist")).model.generator_widths == (32, 16)
    assert smoke(load_config("gan_mlp_mnist")).model.generator_widths == (16, 32)


def test_defaults_of_the_command_build_the_default_model():
    """A Glow by its settings is the Glow of its constructor."""
    shapes = []
    for make in (
        lambda: SYSTEMS["glow"](preprocess="none", levels=2).build(data(None), nnx.Rngs(0)),
        lambda: dgm.Glow((4, 8, 1), levels=2, rngs=nnx.Rngs(0)),
    ):
        params, _, _ = dgm.training.partition(jax.eval_shape(make))
        shapes.append({name: array.shape for name, array in params.items()})
    assert shapes[0] == shapes[1]
