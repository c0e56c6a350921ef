"""Parameters, events and contexts of different dtypes: reversible models give the gradients of plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.testing import cast, scramble

SETTINGS = {"reversible": True, "depth": 2, "width": 4}
REVERSIBLE = {
    "Glow": lambda **o: dgm.Glow((4, 4, 1), levels=2, context_shape=(2,), **{**SETTINGS, **o}),
    "RealNVP, images": lambda **o: dgm.ImageRealNVP(
        (4, 4, 1), hidden_layers=1, **{**SETTINGS, **o}
    ),
    "RealNVP": lambda **o: dgm.RealNVP((4,), context_shape=(2,), **{**SETTINGS, **o}),
    "FlowPP": lambda **o: dgm.FlowPP(
        (4, 4, 1),
        couplings=(1, 1, 0),
        num_components=2,
        num_heads=2,
        dropout=0.0,
        **{**SETTINGS, **o},
    ),
    "RevNet": lambda rngs, **o: dgm.RevNet(
        (4, 4, 1), 3, filters=(4, 4, 4), units=(1, 2), rngs=rngs, **{"reversible": True, **o}
    ),
    "NICE, 16 bits": lambda **o: dgm.NICE((4,), compute_dtype="bfloat16", **{**SETTINGS, **o}),
}
MIXES = {"events": (4, 8, 4), "parameters": (8, 4, 4), "context": (4, 4, 8)}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", REVERSIBLE)
@pytest.mark.one_in(6)
def test_reversible_models_take_mixed_dtypes(name, mix):
    params_size, x_size, context_size = MIXES[mix]

    def gradient(**options):
        flow = scramble(REVERSIBLE[name](**options, rngs=nnx.Rngs(0)), jax.random.key(0))
        flow = cast(flow, f"float{8 * params_size}")
        x = jnp.full((2, *flow.event_shape), 0.3, f"float{8 * x_size}")
        context = None
        if name != "RevNet" and flow.context_shape is not None:
            context = jnp.ones((2, 2), f"float{8 * context_size}")

        def loss(flow, x):
            if name == "RevNet":
                logits, _ = flow.logits_and_update(x)
                return (logits**2).sum()
            return flow.log_prob(x, context).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(flow, x)

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        got, expected = gradient(), gradient(reversible=False)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
