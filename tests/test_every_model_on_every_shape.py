"""Every system on images of every kind: it starts near the uniform code, with finite gradients, and learns.

The options of a system are those of its settings, so a new likelihood, network or prior is in the table by itself.
Every system has a row of each of its values and of each shape. Every value meets every kind of data in one system of
those that share it. The fast suite has those rows that show a value for the first time.
"""

import itertools
import math
import random
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.training.inputs import with_data_init
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.flow import FlowConfig
from experiments.settings.systems import SYSTEMS

pytestmark = pytest.mark.usefixtures("x32")

# Layers look at all rows first; a step takes the first few.
ROWS, BATCH, CLASSES, STEPS = 32, 4, 3, 10
# Divisible by 8, by 4 and by nothing.
SIDES = ((8, 8), (4, 12), (7, 4))
# The options that say what the data are.
OF_DATA = {"sides", "channels", "num_levels", "flat"}
# An exact log-determinant, and a density that takes a step an element, are for small events.
SMALL_EVENTS = ("iaf", "residual")
# They come last, when others have met what they share.
LONG_TO_COMPILE = ("realnvp_images", "flowpp")
# How often each halves the sides at the sizes below.
HALVINGS = {
    "realnvp_images": 1,
    "glow": 2,
    "flowpp": 1,
    "pixelcnn": 1,
    "iaf_vae": 2,
    "gan_images": 2,
    "irevnet": 2,
    "revnet": 1,
    "resnet": 1,
}
SIZES = {
    "width": 8,
    "depth": 2,
    "hidden_layers": 1,
    "levels": 2,
    "resolutions": 2,
    "couplings": (2, 1, 1),
    "num_components": 3,
    "num_heads": 2,
    "num_bins": 4,
    "filters": (8, 8, 8),
    "units": (2, 2),
    "blocks": (2, 2, 2),
    "pad_to": 8,
    "latent_dim": 4,
    "latent_dims": (3, 2),
    "latent_channels": 2,
    "context_size": 4,
    "posterior_depth": 2,
    "posterior_width": 4,
    "prior_components": 3,
    "prior_depth": 2,
    "prior_width": 4,
    "context_channels": 3,
    "pixel_width": 8,
    "generator_widths": (16, 8),
    "discriminator_widths": (8, 16),
}
NOISE = {"couplings": 2, "width": 8, "depth": 1, "num_components": 3, "encoder_width": 4}
# They change what a gradient costs, not what it is, or is near.
OF_MEMORY = ("reversible", "remat", "remat_blocks", "compute_dtype")
# Functions of single numbers: the shape of what holds them is nothing to them.
ELEMENTWISE = {"activation", "scale_fn", "h", "saturating", "sequential"}
# What the fast suite shows of each system, and of all together.
OF_EACH, OF_ALL = ("likelihood", "network", "variant"), ("noise", "prior", "posterior")


def settings(system):
    """The values of every option that has a list of them."""
    cls = SYSTEMS[system]
    sides = SIDES if cls.images else (SIDES[0], SIDES[-1])
    options = {"sides": SIDES[:1] if system in SMALL_EVENTS else sides, "channels": (1, 3)}
    options["num_levels"] = (2, 17, 256)
    if not cls.images:
        options["flat"] = (True, False) if "vae" in system or system == "nice" else (True,)
    if issubclass(cls, FlowConfig):
        options["noise"] = names(DequantizationConfig)["kind"]
    return options | names(cls)


def names(cls):
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        if name in OF_MEMORY:
            continue
        if type(None) in typing.get_args(hint):
            hint = typing.get_args(hint)[0]
        if typing.get_origin(hint) is typing.Literal:
            found[name] = typing.get_args(hint)
        elif hint is bool:
            found[name] = (False, True)
    return found


def allowed(row):
    """Bernoulli pixels have two levels; noise that leaves the range of the data has no map from that range alone."""
    bounded = row.get("preprocess") not in ("none", "standardize")
    return (row.get("likelihood") != "bernoulli" or row["num_levels"] == 2) and (
        row.get("noise") != "gaussian" or not bounded
    )


def pairs(options, met=frozenset()):
    """Rows of ``options`` with every value, and every allowed pair of values of which one says what the data are.

    Pairs in ``met`` may be missing.
    """
    keys, rng = list(options), random.Random(0)
    missing = {
        frozenset(((a, x), (b, y)))
        for a, b in itertools.combinations(keys, 2)
        if OF_DATA & {a, b} and not ELEMENTWISE & {a, b}
        for x in options[a]
        for y in options[b]
    } - met
    missing |= {frozenset(((key, value),)) for key in keys for value in options[key]}
    rows = []

    def shown(row):
        items = row.items()
        return {frozenset(some) for n in (1, 2) for some in itertools.combinations(items, n)}

    def gain(row):
        return len(shown(row) & missing)

    for pair in sorted(missing, key=lambda pair: sorted(map(repr, pair))):
        if pair not in missing:
            continue
        tries = [{key: rng.choice(options[key]) for key in keys} | dict(pair) for _ in range(60)]
        row = max(filter(allowed, tries), key=gain, default=None)
        if row is None:
            continue
        missing -= shown(row)
        rows.append(row)
    rng.shuffle(rows)  # the first show every size of image, not the smallest
    return rows


def divides(system, row):
    block = 2 ** HALVINGS.get(system, 0)
    if row.get("variant") in ("gated", "plain"):
        block = 1
    return all(side % block == 0 for side in row["sides"])


def table():
    seen = set()
    # Noise, priors, likelihoods and the like are the same code in all systems for images, and in all for vectors; what
    # every system has to see is every shape.
    met = {True: set(), False: set()}
    for system in sorted(SYSTEMS, key=LONG_TO_COMPILE.__contains__):
        cls = SYSTEMS[system]
        # The first is of colour, with sides that differ.
        rows = sorted(
            pairs(settings(system), met[cls.images]),
            key=lambda r: (r["channels"], r["sides"] == SIDES[1]),
        )
        for row in rows:
            options = itertools.combinations(row.items(), 2)
            met[cls.images] |= {
                frozenset(pair) for pair in options if dict(pair).keys() != {"sides", "channels"}
            }
        for row in reversed(rows):
            values = {(system, name, row[name]) for name in OF_EACH if name in row}
            values |= {(name, row[name]) for name in OF_ALL if name in row} | {(system, "learns")}
            values = values if divides(system, row) else {(system, "is refused")}
            new, seen = bool(values - seen), seen | values
            label = "-".join(str(value).replace(" ", "") for value in row.values())
            marks = () if new else pytest.mark.slow
            yield pytest.param(system, row, id=f"{system}-{label}", marks=marks)


def images(sides, channels, levels):
    """A few smooth coloured waves."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, side) for side in sides), indexing="ij"), -1)
    waves = rng.normal(0.0, 5.0, (3, ROWS, channels, 2))
    phases = rng.uniform(0.0, 2.0 * math.pi, (3, ROWS, 1, 1, channels))
    x = np.sin(np.einsum("hwd,kncd->knhwc", grid, waves) + phases).sum(0) / 3.0
    return np.clip(np.floor((x + 1.0) * levels / 2.0), 0, levels - 1).astype(np.uint8)


def dataset_of(row):
    x = images(row["sides"], row["channels"], row["num_levels"])
    levels = row["num_levels"]
    if row.get("likelihood") == "gaussian" or row.get("preprocess") == "none":
        x, levels = (2.0 * x / (levels - 1) - 1.0).astype(np.float32), None
    labels = {split: np.arange(ROWS) % CLASSES for split in ("train", "validation", "test")}
    shape = (*row["sides"], row["channels"])
    found = dgm.data.Dataset("waves", x, x, x, levels, shape, labels)
    return found.flattened() if row.get("flat") else found


def model_of(system, row):
    cls = SYSTEMS[system]
    known = typing.get_type_hints(cls)
    options = {name: value for name, value in (SIZES | row).items() if name in known}
    if row.get("variant") in ("gated", "plain"):
        options["resolutions"] = None
    if row.get("transformer", "spline") != "spline":
        del options["num_bins"]
    config, dataset = cls(**options), dataset_of(row)
    # There is nothing to dequantize in floats.
    kind = "uniform" if dataset.num_levels is None else row.get("noise", "uniform")
    noise = DequantizationConfig(kind=kind, **NOISE)
    return config, dataset, lambda: config.build(dataset, nnx.Rngs(0), dequantization=noise)


@pytest.mark.parametrize(("system", "row"), list(table()))
def test_it_starts_near_the_uniform_code_and_learns(system, row):
    config, dataset, build = model_of(system, row)
    if not divides(system, row):
        with pytest.raises(ValueError, match="pad"):
            build()
        return
    rows = {"x": dataset.train}
    if config.uses_labels:
        rows["context"] = np.eye(CLASSES, dtype=np.float32)[dataset.labels["train"]]
    key, losses = jax.random.key(0), config.loss()
    losses = losses if isinstance(losses, dict) else {"": losses}
    # What looks at the data with NumPy is made outside.
    model = with_data_init(build(), rows, key) if row.get("prior") == "vamp" else None
    values, finite = run(model, build, losses, rows, key)
    assert finite.all()
    assert np.isfinite(values).all()
    if len(losses) > 1:
        return  # a game: neither loss has to fall
    size, levels = dataset.train[0].size, dataset.num_levels or 2  # floats span [-1, 1]: log 2, too
    code = math.log(CLASSES) if config.uses_labels else size * math.log(levels)
    start, end = values[0, 0], values[-1, 0]
    assert end < start <= 3.0 * code, (start / code, end / code)


def run(model, build, losses, rows, key):
    """Losses ``[STEPS + 1, len(losses)]`` on one batch with one noise, and whether gradients are finite."""
    optimizer = optax.adam(2e-3)
    batch = {name: jnp.asarray(array[:BATCH]) for name, array in rows.items()}

    @jax.jit
    def program(rows, model):
        made = with_data_init(build(), rows, key) if model is None else model
        params, fixed, merge = dgm.training.partition(made)

        def step(state, _):
            params, moments = state
            values, finite = [], []
            for part, loss in losses.items():
                mine = {name: array for name, array in params.items() if name.startswith(part)}

                def value_of(mine, loss=loss, params=params):
                    return loss(merge(params | mine, fixed), batch, key)[0]

                value, grads = jax.value_and_grad(value_of)(mine)
                updates, new = optimizer.update(grads, moments[part])
                params, moments = params | optax.apply_updates(mine, updates), moments | {part: new}
                values.append(value)
                finite += [jnp.isfinite(grad).all() for grad in grads.values()]
            return (params, moments), (jnp.stack(values), jnp.stack(finite).all())

        moments = {
            part: optimizer.init({n: a for n, a in params.items() if n.startswith(part)})
            for part in losses
        }
        return jax.lax.scan(step, (params, moments), length=STEPS + 1)[1]

    return jax.device_get(program(rows, model))


def test_noise_that_leaves_the_range_needs_a_map_from_everywhere():
    row = {"sides": (8, 8), "channels": 1, "num_levels": 17, "noise": "gaussian", "flat": True}
    for preprocess in ("logit", "histogram", "shared_histogram"):
        with pytest.raises(ValueError, match="gaussian noise leaves the range"):
            model_of("nice", row | {"preprocess": preprocess})[2]()
