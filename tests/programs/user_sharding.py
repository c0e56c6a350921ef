"""Models and layers inside a user's own sharding, against plain calls: prints as JSON what differs, and what fails.

``python -m tests.programs.user_sharding trace NAME ...`` traces log-density, samples and gradients of these rows, which
is where JAX compares the types of loops; ``run`` also runs them and compares the numbers; ``"trace a third"`` needs no
name.
"""

import json
import sys
import zlib

import jax

jax.config.update("jax_num_cpu_devices", 4)

import jax.numpy as jnp  # noqa: E402 - the devices are made at first use
import numpy as np  # noqa: E402
from flax import nnx  # noqa: E402
from jax.sharding import AxisType, NamedSharding, PartitionSpec  # noqa: E402

import dgmjax as dgm  # noqa: E402
from dgmjax import training  # noqa: E402
from dgmjax.testing import scramble  # noqa: E402
from tests import models  # noqa: E402
from tests.rows import BIJECTORS  # noqa: E402

ROWS, SPLIT, WHOLE = 4, PartitionSpec("d"), PartitionSpec()
EXPLICIT = jax.make_mesh((2,), ("d",), devices=jax.devices()[:2])
MESHES = {
    "explicit": EXPLICIT,
    "shard_map": jax.make_mesh((2,), ("d",), (AxisType.Auto,), devices=jax.devices()[:2]),
}
assert EXPLICIT.axis_types == (AxisType.Explicit,), "what jax.make_mesh makes by default"


def layer_calls(name: str):
    """Functions of (parameters, rows, contexts), and these arguments."""
    row = BIJECTORS[name]
    layer = scramble(row.make(nnx.Rngs(0)), jax.random.key(0))
    x = row.data(jax.random.key(0), (ROWS, *layer.event_shape)).astype(jnp.float32)
    context = None if row.context_shape is None else jnp.ones((ROWS, *row.context_shape))
    params, fixed, merge = training.partition(layer)
    if isinstance(layer, dgm.Inverse):
        x = jax.eval_shape(lambda x: layer.inverse(x, context), x)
        x = jnp.full(x.shape, 0.3, x.dtype)

    def inverse(params, x, context):
        return merge(params, fixed).inverse_and_log_det(x, context)

    def forward(params, x, context):
        layer = merge(params, fixed)
        return layer.forward_and_log_det(layer.inverse(x, context), context)

    return {"inverse": inverse, "forward": forward}, (params, x, context)


def model_calls(name: str):
    """The same of a model; a seed a row is its context."""
    row = models.MODELS[name]
    model = scramble(row.make(nnx.Rngs(0)), jax.random.key(0))
    params, fixed, merge = training.partition(model)
    seeds = dgm.numerics.prng.example_keys(jax.random.key(1), ROWS)

    def log_prob(params, x, seeds):
        return models.log_prob(merge(params, fixed), x, seeds)

    def sample(params, x, seeds):
        del x
        # The same on both devices, with the type of what differs.
        zero = 0 * jax.random.key_data(seeds).sum(0, dtype=jnp.uint32)
        seed = jax.random.wrap_key_data(jax.random.key_data(jax.random.key(2)) + zero)
        return models.sample(merge(params, fixed), seed, 2)

    calls = {"log_prob": log_prob} | ({"sample": sample} if hasattr(model, "sample") else {})
    return calls, (params, models.events(row, model, (ROWS,)), seeds)


def gradient(call):
    """Gradients of the sum of all results, for the parameters and, where they are floats, for the rows."""

    def loss(floating, params, x, rest):
        params, x = floating.get("params", params), floating.get("x", x)
        out = jax.tree.leaves(call(params, x, rest))
        return sum((leaf.astype(jnp.float32) ** 2).sum() for leaf in out)

    def of(params, x, rest):
        floating = {"params": params}
        if jnp.issubdtype(x.dtype, jnp.floating):
            floating["x"] = x
        return jax.grad(loss)(floating, params, x, rest)

    return of


def _spread(way: str, call, args, out):
    """``call`` with rows and contexts on two devices, and its arguments."""
    mesh = MESHES[way]
    specs = (WHOLE, SPLIT, SPLIT)
    if way == "shard_map":
        out = jax.tree.map(lambda leaf: SPLIT if leaf.shape[:1] == (ROWS,) else WHOLE, out)
        return jax.shard_map(call, mesh=mesh, in_specs=specs, out_specs=out), args
    places = [NamedSharding(mesh, spec) for spec in specs]
    return call, tuple(map(jax.device_put, args, places))


def problems(name: str, calls, args, *, run: bool) -> dict[str, str]:
    """The failures and differences, in words."""
    found = {}
    gradients = {f"gradient of {what}": gradient(call) for what, call in calls.items()}
    for what, call in {**calls, **gradients}.items():
        if "sample" in what and "gradient" in what:
            continue
        out = jax.eval_shape(call, *args)
        if "gradient" in what:
            out = {
                "params": jax.tree.map(lambda _: jax.ShapeDtypeStruct((), float), out["params"]),
                **{k: v for k, v in out.items() if k != "params"},
            }
        for way in MESHES:
            spread, placed = _spread(way, call, args, out)
            if what == "sample" and way == "shard_map":
                spread = jax.shard_map(
                    call, mesh=MESHES[way], in_specs=(WHOLE, SPLIT, SPLIT), out_specs=SPLIT
                )
            try:
                if not run:
                    jax.jit(spread).trace(*placed)
                    continue
                got, expected = jax.jit(spread)(*placed), jax.jit(call)(*args)
                if what == "sample" and way == "shard_map":
                    got = got[:2]
                for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
                    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
            except Exception as error:  # noqa: BLE001 - reported
                found[f"{name}, {what}, {way}"] = f"{type(error).__name__}: {str(error)[:400]}"
    return found


def main() -> None:
    """Print one JSON object."""
    mode, *names = sys.argv[1:]
    found = {}
    if mode == "trace a third":
        # By a hash of the name, so that a row keeps its place when others come or go.
        names = sorted([*models.MODELS, *BIJECTORS], key=lambda name: zlib.crc32(name.encode()))
        names = names[: len(names) // 3]
    for name in names:
        make = model_calls if name in models.MODELS else layer_calls
        found |= problems(name, *make(name), run=mode == "run")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
