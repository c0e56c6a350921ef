"""Models of images: their likelihoods, samples and interpolations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dgmjax as dgm
from experiments.commands.attributes import Options, manipulate_attribute
from experiments.reproduce._modules import KEY
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


def draw_samples(
    context: Context, name: str, model: Any, dataset: dgm.data.Dataset, **options: Any
) -> np.ndarray:
    """A picture of 64 samples, which are returned."""
    images = np.asarray(
        jax.jit(lambda m, key: m.sample(seed=key, sample_shape=(64,), **options))(model, KEY)
    )
    top = (dataset.num_levels or 256) - 1
    images = images.reshape(-1, *(dataset.image_shape or ()))
    dgm.plots.image_grid(images, context.picture(name), maximum=top)
    return images


@entry(
    "L5-23",
    "L5-24",
    title="TABLE and FIGURE: pixel and flow models of discrete images, and their samples",
)
def samples_of_both(context: Context) -> list[Check]:
    """On the digits: an autoregressive model (exact) and a flow with variational dequantization (a bound)."""
    dataset = dgm.data.load_dataset("digits").as_images()
    checks = []
    for name, limit in (("pixelcnnpp_digits", 105.0), ("flowpp_digits", 125.0)):
        model, result, _ = context.trained(name, steps=60)
        draw_samples(context, f"{name}_samples", model, dataset)
        goal = limit if context.quick else {"pixelcnnpp_digits": 80.0, "flowpp_digits": 86.0}[name]
        checks.append(
            at_most(f"{name}, test nats, {result['test']['bound']}", result["test"]["nats"], goal)
        )
    return checks


@entry("L5-14", title="FIGURE: interpolation through a flow, straight and spherical")
def interpolation(context: Context) -> list[Check]:
    """Between digits, by the codes of a RealNVP; the ends are the images."""
    model, _, _ = context.trained("realnvp_digits", steps=400)
    dataset = dgm.data.load_dataset("digits").flattened()
    x = jnp.asarray(dataset.test[:8], jnp.float32) + 0.5
    flow = model.density
    rows, ends = [], 0.0
    for kind in ("linear", "spherical"):
        path = dgm.analysis.interpolate(flow, x[0::2], x[1::2], 9, kind=kind)
        ends = max(
            ends,
            float(jnp.abs(path[0] - x[0::2]).max()),
            float(jnp.abs(path[-1] - x[1::2]).max()),
        )
        rows.append(np.asarray(path).swapaxes(0, 1))
    images = np.concatenate(rows).reshape(-1, 8, 8, 1)
    dgm.plots.image_grid(
        np.clip(images, 0, 17), context.picture("interpolation"), columns=9, maximum=17
    )
    return [at_most("largest error at the ends, in levels", ends, 0.05)]


@entry(
    "A4-29",
    "A4-30",
    "A4-28",
    "D3-19",
    title="FIGURE: a RealNVP of MLPs, its bits/dim and its samples",
)
def realnvp(context: Context) -> list[Check]:
    """On the digits; the assignment has MNIST, where the same command takes ``realnvp_mnist``."""
    model, result, _ = context.trained("realnvp_digits", steps=400)
    dataset = dgm.data.load_dataset("digits").flattened()
    draw_samples(context, "realnvp_digits_samples", model, dataset)
    return [
        at_most(
            "test bits/dim, one-sample bound",
            result["test"]["bits_per_dim"],
            2.5 if context.quick else 2.05,
        )
    ]


@entry(
    "L5-15",
    title="FIGURE: an attribute of images, more and less of it along a direction of the latents",
)
def attributes(context: Context) -> list[Check]:
    """Digits that are a 3 against 5s: the log-odds of a classifier on pixels rise with the strength.

    The lecture has smiles and hair on CelebA; ``python -m experiments.attributes`` takes any run and labels.
    """
    model, _, config = context.trained("realnvp_digits", steps=400)
    record = manipulate_attribute(
        Options(
            context.run_folder(config),
            attribute="3",
            against="5",
            out=context.picture("attributes"),
        )
    )
    x = jnp.asarray(dgm.data.load_dataset("digits").flattened().test[:50])
    direction = jnp.ones(dgm.analysis.encode(model, x).shape[1:])
    still = dgm.analysis.manipulate(model, x, direction, np.zeros(1))[0]
    odds = record["mean_log_odds"]
    return [
        close("share of pixels that strength 0 gives back", float((still == x).mean()), 1.0, 0.0),
        at_least(
            "smallest rise of the log-odds from strength to strength", min(np.diff(odds)), 1e-6
        ),
        at_least("accuracy of the classifier", record["classifier_accuracy"], 0.9),
    ]
