"""Autoregressive models of pixels: what sees what, and masses that sum to one."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble
from experiments.reproduce._modules import KEY, float64
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


@entry(
    "L7-17",
    title="PixelCNN++: pixels see earlier ones only; one mixture for R, G and B; masses sum to 1",
)
def pixel_cnn(context: Context) -> list[Check]:
    """The Jacobian of the network on 4 x 4 pixels; all images of 2 pixels; all values of one sub-pixel.

    The lecture's formula is a density per dimension; the model's likelihood is a mass (erratum E-L7-3).
    """
    del context
    with float64():
        options: dict[str, Any] = {"depth": 1, "width": 4, "num_components": 2}
        model = _away_from_its_start(
            dgm.PixelCNNpp((4, 4, 3), 9, resolutions=2, **options, rngs=nnx.Rngs(0))
        )
        x = jax.random.normal(KEY, (1, 4, 4, 3))
        jacobian = jax.jit(jax.jacfwd(lambda x: model.net(x)[0]))(x)[:, :, :, 0]
        sees = np.abs(jacobian).max(2).reshape(16, 16, 3)  # output pixel, input pixel, channel
        earlier = np.tri(16, k=-1, dtype=bool)
        small = _away_from_its_start(
            dgm.PixelCNNpp((1, 2, 1), 5, variant="gated", **options, rngs=nnx.Rngs(0))
        )
        images = jnp.asarray(list(itertools.product(range(5), repeat=2))).reshape(-1, 1, 2, 1)
        total = float(jnp.exp(jax.jit(lambda m: m.log_prob(images))(small)).sum())
        params = jax.random.normal(KEY, (dgm.densities.rgb_mixture_num_params(3, 2),))
        return [
            close(
                "largest derivative of outputs by the pixel itself and later ones",
                float(sees[~earlier].max()),
                0.0,
                0.0,
            ),
            at_least("smallest derivative by earlier pixels", float(sees[earlier].min()), 1e-12),
            close("mass of all images of 2 pixels", total, 1.0, 1e-9),
            *_sub_pixels(params),
        ]


def _away_from_its_start(model: dgm.PixelCNNpp) -> dgm.PixelCNNpp:
    return cast(scramble(model, KEY, scale=0.3), jnp.float64)


def _sub_pixels(params: jax.Array) -> list[Check]:
    """256 levels: masses of each channel given those before, and ``m_B = mu_B + b x_R + c x_G`` of one component."""
    levels = jnp.arange(256)
    conditional = jax.jit(dgm.densities.rgb_mixture_conditional_log_prob, static_argnums=1)

    def masses(channel: int, before: tuple[int, int], params: jax.Array) -> jax.Array:
        rows = jnp.broadcast_to(jnp.asarray([*before, 0]), (256, 3)).at[:, channel].set(levels)
        given = jnp.broadcast_to(params, (256, params.size))
        return jnp.exp(conditional(rows, 256, given)[:, channel])

    sums = [
        float(masses(channel, before, params).sum())
        for channel in range(3)
        for before in ((3, 200), (250, 7))
    ]
    raw = jnp.asarray([0.5, -0.4, 0.3])  # of G by R, B by R, B by G; scales of 6 levels
    line = jnp.concatenate([jnp.zeros(4), jnp.full(3, -3.0), raw])

    def mean(channel: int, red: int, green: int) -> float:
        return float((levels * masses(channel, (red, green), line)).sum())

    slopes = [
        (mean(1, 150, 0) - mean(1, 100, 0)) / 50,
        (mean(2, 150, 128) - mean(2, 100, 128)) / 50,
        (mean(2, 128, 150) - mean(2, 128, 100)) / 50,
    ]
    return [
        at_most(
            "largest distance of a sub-pixel's mass from 1", max(abs(s - 1) for s in sums), 1e-9
        ),
        *(
            close(f"slope of the mean of {name}", slope, float(expected), 1e-3)
            for name, slope, expected in zip(
                ("G by R", "B by R", "B by G"), slopes, jnp.tanh(raw), strict=True
            )
        ),
    ]
