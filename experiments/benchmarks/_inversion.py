"""Latent to data through one autoregressive layer of high dimension, against the inversion by D passes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm
from experiments.benchmarks._timing import Row, Sizes, System, race

_LAST_KERNEL_STD = 0.01  # a layer that starts as the identity would let Jacobi finish at once


def inversion(sizes: Sizes, peers: dict[str, ModuleType]) -> list[Row]:
    """Incremental and Jacobi inversion of one layer, and ``D`` full passes of its network.

    Raises:
      RuntimeError: the three disagree.
    """
    del peers
    layers = {name: _layer(sizes, name) for name in ("incremental", "jacobi")}
    z = jax.random.normal(jax.random.key(1), (sizes.inversion_batch, sizes.inversion_dim))
    forward = jax.jit(lambda layer, z: layer.forward_and_log_det(z))
    naive = jax.jit(naive_forward)
    expected = forward(layers["incremental"], z)[0]
    for name, x in (
        ("naive", naive(layers["incremental"], z)[0]),
        ("jacobi", forward(layers["jacobi"], z)[0]),
    ):
        error = float(jnp.abs(x - expected).max())
        if not error < 1e-3:
            raise RuntimeError(f"inversion: {name} is {error:.1e} away from incremental.")
    notes = {
        "incremental": "each hidden unit is evaluated once",
        "jacobi": f"all elements at once until nothing changes; last kernel ~ N(0, {_LAST_KERNEL_STD}^2)",
    }

    def contestant(name: str, function: Callable[..., Any], sequential: str) -> System:
        layer = layers[sequential]
        return System(
            name, lambda: jax.block_until_ready(function(layer, z)), note=notes[sequential]
        )

    systems = [
        contestant("dgmjax, incremental", forward, "incremental"),
        contestant("dgmjax, jacobi", forward, "jacobi"),
        contestant("naive, D passes", naive, "incremental")._replace(
            note="the same layer and weights, all of the network for every element"
        ),
    ]
    rounds = max(sizes.rounds // 3, 2)
    task = f"inversion at D={sizes.inversion_dim}"
    return race(task, systems, rounds=rounds, calls=max(sizes.calls // 4, 1))


def naive_forward(layer: dgm.MaskedAutoregressive, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``x_i = f(z_i; h_i(x_<i))`` by a pass of the whole network for every element."""

    def one_pass(x: jax.Array, element: jax.Array) -> tuple[jax.Array, None]:
        new = layer.transformer.forward(z, layer.conditioner(x))[0]
        return jnp.where(jnp.arange(x.shape[-1])[None] == element, new, x), None

    x, _ = jax.lax.scan(one_pass, jnp.zeros_like(z), jnp.asarray(layer.order.value))
    return x, layer.transformer.forward(z, layer.conditioner(x))[1].sum(-1)


def _layer(sizes: Sizes, sequential: str) -> dgm.MaskedAutoregressive:
    layer = dgm.MaskedAutoregressive(
        (sizes.inversion_dim,),
        transformer=dgm.bijectors.AffineTransformer(),
        width=sizes.inversion_width,
        sequential=sequential,
        rngs=nnx.Rngs(0),
    )
    last = layer.conditioner.kernels[-1]
    values = np.random.RandomState(0).normal(0.0, _LAST_KERNEL_STD, last[...].shape)
    layer.conditioner.kernels[-1] = nnx.Param(jnp.asarray(values, jnp.float32))
    return layer
