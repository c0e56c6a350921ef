"""Glow: its layers, its levels, and itself without its parts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import scramble
from experiments.commands.ablation import run_ablation
from experiments.configs import load_config
from experiments.reproduce._modules import KEY, round_trip
from experiments.reproduce.entry import Check, Context, at_most, close, entry


@entry("L5-10", "L5-11", title="TABLE: the layers of Glow, inverses and log-determinants")
def glow_layers(context: Context) -> list[Check]:
    """Actnorm, 1x1 convolution and affine coupling against dense Jacobians on 2 x 2 images."""
    del context
    x = jax.random.normal(KEY, (4, 2, 2, 4))
    coupling = dgm.ImageCoupling(
        (2, 2, 4),
        mask="channel",
        make_conditioner=functools.partial(dgm.nets.ConvNet, width=8, rngs=nnx.Rngs(0)),
        transformer=dgm.bijectors.AffineTransformer(),
    )
    layers: dict[str, dgm.Bijector] = {
        "actnorm": dgm.ActNorm((2, 2, 4)).with_data_init(3 * x + 1),
        "1x1 convolution": dgm.Invertible1x1Conv((2, 2, 4), rngs=nnx.Rngs(0)),
        "affine coupling": scramble(coupling, KEY, scale=0.3),
    }
    checks = []
    for name, layer in layers.items():
        checks += [
            check._replace(what=f"{name}: {check.what}") for check in round_trip(layer, x, 1e-4)
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
    x = 3 + 2 * jax.random.normal(KEY, (64, 8, 8, 1))
    flow = dgm.Glow((8, 8, 1), levels=2, depth=2, width=16, rngs=nnx.Rngs(0)).with_data_init(x)
    parts = flow.multi_scale.split_latents(flow.bijector.inverse(x))
    mean = max(float(jnp.abs(part.mean((0, 1, 2))).max()) for part in parts)
    still = flow.sample(seed=KEY, sample_shape=(3,), temperature=0.0)
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
