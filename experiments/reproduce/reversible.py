"""Reversible residual networks: inverses, memory, sizes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, distance, float64, round_trip
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


def _size(make: Any) -> int:
    """Parameters, from shapes alone."""
    params, _, _ = dgm.training.partition(jax.eval_shape(lambda: make(nnx.Rngs(0))))
    return sum(array.size for array in params.values())


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
    "L5-02", title="NICE: additive couplings and their inverse; only the last scales change volume"
)
def nice(context: Context) -> list[Check]:
    """``y2 = x2 + m(x1)`` four times and ``z = exp(s) y``: the log-determinant is ``sum s``."""
    del context
    with float64():
        layers: Any = cast(
            scramble(dgm.NICE((6,), depth=4, width=16, rngs=nnx.Rngs(0)), KEY, scale=0.3),
            jnp.float64,
        ).bijector
        x = jax.random.normal(KEY, (16, 6))
        params, _, _ = dgm.training.partition(layers)
        (scales,) = (a for name, a in params.items() if name.endswith("log_scale"))
        log_det = layers.inverse_log_det(x)
        return [
            *round_trip(layers, x, 1e-10),
            at_most(
                "log-determinant less the sum of log-scales",
                distance(log_det, -scales.sum()),
                1e-10,
            ),
            at_least("log-determinant, absolute", float(jnp.abs(log_det).min()), 0.01),
        ]


@entry("L5-03", title="Reversible blocks: the library's inverse, and the printed one, which fails")
def reversible_block(context: Context) -> list[Check]:
    """``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)`` of `dgmjax.RevBlock`; the lecture's inverse has F and G swapped."""
    del context
    checks = []
    block = scramble(dgm.RevBlock((3, 3, 8), rngs=nnx.Rngs(0)), KEY, scale=0.2)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        with float64():
            one = cast(block, dtype)
            x = jax.random.normal(KEY, (5, 3, 3, 8), dtype)
            y = one.inverse(x)
            back = one.forward(y)
            checks.append(
                at_most(
                    f"{np.dtype(dtype).name}: error of the inverse", distance(back, x), tolerance
                )
            )
            f, g = (layer.branch for layer in one.layers)
            (x1, x2), (y1, y2) = (jnp.split(a, 2, axis=-1) for a in (x, y))
            printed_x2 = y2 - f(y1)
            printed_x1 = y1 - g(printed_x2)
            checks += [
                at_least(
                    f"{np.dtype(dtype).name}: error of x2, as printed",
                    distance(printed_x2, x2),
                    0.1,
                ),
                at_least(
                    f"{np.dtype(dtype).name}: error of x1, as printed",
                    distance(printed_x1, x1),
                    0.1,
                ),
            ]
    return checks


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
