"""Flows and pixel models of images, reversible networks: formulas, sizes, samples."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.ablation import run_ablation
from experiments.config import load_config
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry

_KEY = jax.random.key(0)


def _size(make: Any) -> int:
    """Parameters, from shapes alone."""
    params, _, _ = dgm.training.partition(jax.eval_shape(lambda: make(nnx.Rngs(0))))
    return sum(array.size for array in params.values())


def _samples(
    context: Context, name: str, model: Any, dataset: dgm.data.Dataset, **options: Any
) -> np.ndarray:
    images = np.asarray(
        jax.jit(lambda m, key: m.sample(seed=key, sample_shape=(64,), **options))(model, _KEY)
    )
    top = (dataset.num_levels or 256) - 1
    images = images.reshape(-1, *(dataset.image_shape or ()))
    dgm.plots.image_grid(images, context.picture(name), maximum=top)
    return images


@entry(
    "L5-01",
    "L5-05",
    "L5-06",
    title="FIGURE: memory of the gradient against depth, reversible and stored",
)
def memory(context: Context) -> list[Check]:
    """Exact bytes of the compiled program."""
    growth = context.figure("reversible_memory")["growth"]
    checks = [
        at_most(
            "growth of the reversible network, deepest over shallowest",
            growth["RevNet, reversible"],
            1.3,
        )
    ]
    others = [value for name, value in growth.items() if name != "RevNet, reversible"]
    return [*checks, at_least("of those that store activations", min(others), 1.5)]


@entry(
    "L5-02", "L5-03", title="Reversible blocks: the right inverse, and the printed one, which fails"
)
def reversible_block(context: Context) -> list[Check]:
    """``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)`` with two different functions."""
    del context

    def f(x: jax.Array) -> jax.Array:
        return jnp.tanh(2.0 * x + 0.3)

    def g(x: jax.Array) -> jax.Array:
        return jnp.sin(x) - 0.5

    x1, x2 = jax.random.normal(_KEY, (2, 100))
    y1 = x1 + f(x2)
    y2 = x2 + g(y1)
    right = y2 - g(y1)
    printed = y2 - f(y1)
    return [
        at_most("error of x2 by the right inverse", float(jnp.abs(right - x2).max()), 1e-6),
        at_most("error of x1 by the right inverse", float(jnp.abs(y1 - f(right) - x1).max()), 1e-6),
        at_least("error of x2 by the printed inverse", float(jnp.abs(printed - x2).max()), 0.1),
    ]


@entry("L5-04", "L5-08", title="TABLE: sizes of RevNets, their ResNet twins and i-RevNets")
def sizes(context: Context) -> list[Check]:
    """Millions of parameters, as printed; the error rates need an accelerator."""
    del context
    shape = ((32, 32, 3), 10)
    counted = {
        ("ResNet-32", 0.46, 0.005): lambda rngs: dgm.PreActResNet.of_depth(32, *shape, rngs=rngs),
        ("RevNet-38", 0.46, 0.005): lambda rngs: dgm.RevNet.of_depth(38, *shape, rngs=rngs),
        ("ResNet-110", 1.73, 0.005): lambda rngs: dgm.PreActResNet.of_depth(110, *shape, rngs=rngs),
        ("RevNet-110", 1.73, 0.005): lambda rngs: dgm.RevNet.of_depth(110, *shape, rngs=rngs),
        ("ResNet-164", 1.70, 0.005): lambda rngs: dgm.PreActResNet.of_depth(164, *shape, rngs=rngs),
        ("RevNet-164", 1.75, 0.005): lambda rngs: dgm.RevNet.of_depth(164, *shape, rngs=rngs),
        ("i-RevNet, bijective", 29, 0.5): lambda rngs: dgm.IRevNet.imagenet_bijective(rngs=rngs),
        ("i-RevNet, injective", 181, 0.5): lambda rngs: dgm.IRevNet.imagenet_injective(rngs=rngs),
    }
    return [
        close(f"{name}, millions", _size(make) / 1e6, number, tolerance)
        for (name, number, tolerance), make in counted.items()
    ]


@entry("L5-07", title="i-RevNet: the last features of a trained classifier are the image")
def irevnet(context: Context) -> list[Check]:
    """Digits in [0, 1], float32."""
    model, result, config = context.trained("irevnet_digits", steps=200)
    images = dgm.data.load_dataset(config.data).as_images().test[:100]
    back = model.invert(model.final_features(jnp.asarray(images)))
    scaled = jnp.asarray(images, jnp.float32) / (model.num_levels - 1)
    return [
        at_most("largest error of a pixel", float(jnp.abs(back - scaled).max()), 1e-3),
        at_least("test accuracy", result["test"]["accuracy"], 0.85),
    ]


@entry("L5-10", "L5-11", title="TABLE: the layers of Glow, inverses and log-determinants")
def glow_layers(context: Context) -> list[Check]:
    """Actnorm and 1x1 convolution against dense Jacobians on 2 x 2 images."""
    del context
    x = jax.random.normal(_KEY, (4, 2, 2, 4))
    checks = []
    for name, layer in {
        "actnorm": dgm.ActNorm((2, 2, 4)).with_data_init(3 * x + 1),
        "1x1 convolution": dgm.Invertible1x1Conv((2, 2, 4), rngs=nnx.Rngs(0)),
    }.items():
        jacobian = jax.vmap(jax.jacfwd(lambda one, layer=layer: layer.inverse(one).ravel()))(x)
        dense = jnp.linalg.slogdet(jacobian.reshape(4, 16, 16))[1]
        back = layer.forward(layer.inverse(x))
        checks += [
            at_most(f"{name}: round trip", float(jnp.abs(back - x).max()), 1e-4),
            at_most(
                f"{name}: log-determinant",
                float(jnp.abs(layer.inverse_log_det(x) - dense).max()),
                1e-4,
            ),
        ]
    return checks


@entry(
    "L5-13",
    title="FIGURE: Glow without its parts: reverse, shuffle, 1x1 convolution; additive, affine",
)
def ablation(context: Context) -> list[Check]:
    """Test bits/dim on the digits, single seeds."""
    config = load_config("glow_mnist")
    training = dataclasses.replace(
        config.training,
        steps=context.size(80, 2_000),
        eval_every=context.size(40, 200),
        batch_size=64,
    )
    model = config.model
    if context.quick:
        model = dataclasses.replace(model, depth=2, width=8)
    config = dataclasses.replace(
        config, name="glow_digits", data="digits", training=training, model=model
    )
    table = run_ablation(
        config, context.folder / "runs" / f"ablation{'_quick' if context.quick else ''}"
    )
    bits = {
        row: {c: r["test"]["bits_per_dim"] for c, r in columns.items()}
        for row, columns in table.items()
    }
    affine = bits["affine couplings"]
    return [
        at_most(
            "1x1 convolution less reverse, affine", affine["conv1x1"] - affine["reverse"], 0.05
        ),
        at_most(
            "affine less additive, mean over mixings",
            float(np.mean([affine[m] - bits["additive couplings"][m] for m in affine])),
            0.05,
        ),
    ]


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
        _samples(context, f"{name}_samples", model, dataset)
        goal = limit if context.quick else {"pixelcnnpp_digits": 80.0, "flowpp_digits": 86.0}[name]
        checks.append(
            at_most(f"{name}, test nats, {result['test']['bound']}", result["test"]["nats"], goal)
        )
    return checks


@entry("D3-16", "L5-09", title="Squeeze: which pixels become which channels, as printed")
def squeeze(context: Context) -> list[Check]:
    """The 4 x 4 table of the lecture: blocks of 2 x 2 pixels become 4 channels."""
    del context
    image = jnp.arange(1.0, 17.0).reshape(4, 4, 1)
    small = dgm.bijectors.squeeze(image)
    back = dgm.bijectors.unsqueeze(small)
    expected = np.array([1.0, 2.0, 5.0, 6.0])
    return [
        close("round trip", float(jnp.abs(back - image).max()), 0.0, 0.0),
        close(
            "first block less 1, 2, 5, 6", float(jnp.abs(small[0, 0] - expected).max()), 0.0, 0.0
        ),
    ]


@entry(
    "D3-17",
    "D3-20",
    "D3-21",
    title="Glow: levels keep all dimensions, data-dependent start, one image at temperature 0",
)
def glow(context: Context) -> list[Check]:
    """A small Glow on random images."""
    del context
    x = 3 + 2 * jax.random.normal(_KEY, (64, 8, 8, 1))
    flow = dgm.Glow((8, 8, 1), levels=2, depth=2, width=16, rngs=nnx.Rngs(0)).with_data_init(x)
    parts = flow.multi_scale.split_latents(flow.bijector.inverse(x))
    mean = max(float(jnp.abs(part.mean((0, 1, 2))).max()) for part in parts)
    still = flow.sample(seed=_KEY, sample_shape=(3,), temperature=0.0)
    full = jax.eval_shape(
        lambda: dgm.Glow((256, 256, 3), levels=6, depth=32, width=8, rngs=nnx.Rngs(0))
    )
    steps = sum(level.layers[1].num_layers for level in full.multi_scale.levels)
    return [
        close("dimensions of all latents", sum(part[0].size for part in parts), 64, 0),
        at_most("largest mean of a channel after the start", mean, 1e-3),
        close("steps of the model of CelebA-HQ", steps, 192, 0),
        close(
            "difference of images at temperature 0",
            float(jnp.abs(still - still[:1]).max()),
            0.0,
            1e-5,
        ),
    ]


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
    _samples(context, "realnvp_digits_samples", model, dataset)
    return [
        at_most(
            "test bits/dim, one-sample bound",
            result["test"]["bits_per_dim"],
            2.5 if context.quick else 2.05,
        )
    ]
