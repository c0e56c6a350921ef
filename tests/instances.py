"""The table of constructors that every law is crossed with. A new layer adds a row here and nothing else."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import dgmjax as dgm


class Instance(NamedTuple):
    """A layer under test: how to make it, data in its domain, and the shape of a context."""

    make: Callable[[nnx.Rngs], dgm.Bijector]
    data: Callable[[jax.Array, tuple[int, ...]], jax.Array]
    context_shape: tuple[int, ...] | None = None


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 1.5 * jax.random.normal(key, shape)


def _inside(levels: int) -> Callable[[jax.Array, tuple[int, ...]], jax.Array]:
    return lambda key, shape: jax.random.uniform(key, shape, minval=0.01, maxval=levels - 0.01)


def coupling(
    size: int, mask: Any, scale_fn: str = "tanh", context_shape: tuple[int, ...] | None = None
) -> Callable[[nnx.Rngs], dgm.Coupling]:
    def make(rngs: nnx.Rngs) -> dgm.Coupling:
        return dgm.Coupling(
            (size,),
            mask=mask,
            make_conditioner=functools.partial(
                dgm.nets.MLP, width=16, activation="tanh", dropout=0.3, rngs=rngs
            ),
            transformer=dgm.bijectors.AffineTransformer(scale_fn),
            context_shape=context_shape,
        )

    return make


def _histogram(rngs: nnx.Rngs) -> dgm.Bijector:
    del rngs
    levels = np.random.RandomState(0).binomial(6, 0.3, (200, 4))
    layer = dgm.HistogramGaussianize((4,), 7)
    return layer.with_data_init(jnp.asarray(levels, jnp.float32) + 0.5)


def _standardize(rngs: nnx.Rngs) -> dgm.Bijector:
    del rngs
    data = np.random.RandomState(0).normal(3.0, 5.0, (50, 2, 3)).astype(np.float32)
    return dgm.Standardize((2, 3)).with_data_init(jnp.asarray(data))


def _chain(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.Chain(
        [dgm.Logit((5,), 9.0), coupling(5, "alternating")(rngs), coupling(5, "half")(rngs)]
    )


def _conditional_chain(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.Chain(
        [
            dgm.Standardize((3,)),
            coupling(3, "alternating", context_shape=(2,))(rngs),
            coupling(3, [False, True, False])(rngs),
        ]
    )


BIJECTORS: dict[str, Instance] = {
    "coupling, alternating mask": Instance(coupling(4, "alternating"), _normal),
    "coupling, half mask": Instance(coupling(5, "half"), _normal),
    "coupling, irregular mask": Instance(
        coupling(5, [True, True, False, True, False], "double_sigmoid"), _normal
    ),
    "coupling, one element kept": Instance(coupling(3, [False, True, False], "sigmoid"), _normal),
    "coupling, unbounded scale": Instance(coupling(2, "alternating", "exp"), _normal),
    "coupling, context": Instance(
        coupling(4, "alternating", context_shape=(3,)), _normal, context_shape=(3,)
    ),
    "logit": Instance(lambda _: dgm.Logit((3,), 256.0, alpha=0.05), _inside(256)),
    "logit, large alpha": Instance(lambda _: dgm.Logit((3,), 5.0, alpha=0.2), _inside(5)),
    "logit, tiny alpha, image": Instance(
        lambda _: dgm.Logit((3, 1, 2), 17.0, alpha=1e-6), _inside(17)
    ),
    "histogram": Instance(_histogram, _inside(7)),
    "histogram, uniform": Instance(lambda _: dgm.HistogramGaussianize((3,), 17), _inside(17)),
    "standardize": Instance(_standardize, _normal),
    "chain": Instance(_chain, _inside(9)),
    "chain, context": Instance(_conditional_chain, _normal, context_shape=(2,)),
    "inverse": Instance(lambda rngs: dgm.Inverse(coupling(4, "half")(rngs)), _normal),
    "inverse, context": Instance(
        lambda rngs: dgm.Inverse(coupling(3, "half", context_shape=(2,))(rngs)),
        _normal,
        context_shape=(2,),
    ),
    "inverse of a chain of chains": Instance(
        lambda rngs: dgm.Inverse(dgm.Chain([coupling(3, "half")(rngs), _flat_chain(rngs)])),
        _normal,
    ),
    "RealNVP": Instance(
        lambda rngs: dgm.RealNVP((6,), depth=4, width=16, activation="silu", rngs=rngs).bijector,
        _normal,
    ),
}


def _flat_chain(rngs: nnx.Rngs) -> dgm.Bijector:
    return dgm.Chain([coupling(3, "alternating")(rngs), dgm.Standardize((3,))])
