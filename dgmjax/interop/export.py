"""Densities as artifacts that JAX alone can run: ``jax.export`` of ``log_prob`` and ``sample``."""

import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from dgmjax.checks import context_shape_of, num_levels_of
from dgmjax.objectives.likelihood import bound_of, log_prob
from dgmjax.training.manifest import write_manifest

PLATFORMS = ("cpu", "cuda", "tpu")
FORMAT = "dgmjax.interop.export/1"
DESCRIPTION = "density.json"
_KEY_IMPL = "threefry2x32"


def export(
    model: Any,
    path: str | pathlib.Path,
    *,
    num_samples: int = 1,
    dtype: str = "float32",
    batch_size: int | None = None,
    differentiable: bool = True,
    platforms: Sequence[str] | None = None,
) -> None:
    """Write ``model`` as compiled functions that run without its code and without this library.

    The folder holds ``log_prob.jaxexport`` and ``sample.jaxexport``, written by ``jax.export`` with the arrays of the
    model inside; ``density.json``, which says what they are; ``manifest.json``, sizes and SHA-256. It appears, or is
    replaced, in one piece. `load_exported` reads it; so does `jax.export.deserialize`. For any batch size ``b``:

    - ``log_prob(x[b, *event]) -> [b]``, nats; for a bound ``log_prob(x[b, *event], key_data[b, 2])``, with raw
      ``uint32`` key data, one key an example;
    - ``sample(key_data[b, 2]) -> [b, *event]``.

    A conditional model takes ``context[b, *context_shape]`` as one more, last, argument. ``key_data`` is
    ``jax.random.key_data(jax.random.split(key, b))``; example ``i`` is that of ``model`` with ``seed`` the i-th key.

    Args:
      model: flow, `dgmjax.Dequantized`, model with latent variables, or anything with their ``log_prob``, ``sample``,
        ``event_shape`` and ``bound``.
      path: folder to write; its parents are made.
      num_samples: importance samples ``K`` of a bound.
      dtype: of continuous data and of contexts; integers are int32.
      batch_size: a fixed ``b``, for models that cannot be traced without one.
      differentiable: store the gradient of ``log_prob`` too, for continuous data.
      platforms: those to compile for; default all of ``cpu``, ``cuda`` and ``tpu`` that the model can be lowered for.

    Raises:
      TypeError: a model without a likelihood.
      FileExistsError: ``path`` exists and is not an exported model.
      ModuleNotFoundError: flatbuffers is not installed.
      ValueError: the model cannot be exported; the message holds JAX's reason.
    """
    _check_flatbuffers()
    bound = bound_of(model, num_samples)
    if bound.kind == "no likelihood" or not hasattr(model, "log_prob"):
        raise TypeError(
            f"export: {type(model).__name__} has no likelihood; log_prob and sample are what is exported."
        )
    path = pathlib.Path(path).absolute()
    if path.exists() and not (path / DESCRIPTION).exists():
        raise FileExistsError(f"{path} exists and is not an exported model; choose another path.")
    discrete = num_levels_of(model) is not None
    context_shape = context_shape_of(model)
    x_type = jnp.int32 if discrete else jnp.dtype(dtype)

    def log_prob_of(x: jax.Array, *rest: jax.Array) -> jax.Array:
        context = rest[-1] if context_shape is not None else None
        seed = _typed(rest[0]) if bound.is_noisy else None
        return log_prob(model, x, context, seed=seed, num_samples=num_samples)

    def sample_of(key_data: jax.Array, *context: jax.Array) -> jax.Array:
        keyword = {"context": context[0]} if context else {}
        return model.sample(seed=_typed(key_data), **keyword).astype(x_type)

    batch = jax_export.symbolic_shape("b") if batch_size is None else (batch_size,)
    x = jax.ShapeDtypeStruct((*batch, *model.event_shape), x_type)
    keys = jax.ShapeDtypeStruct((*batch, 2), jnp.uint32)
    context = []
    if context_shape is not None:
        context = [jax.ShapeDtypeStruct((*batch, *context_shape), jnp.dtype(dtype))]
    arguments = {
        "log_prob": (log_prob_of, [x, *([keys] if bound.is_noisy else []), *context]),
        "sample": (sample_of, [keys, *context]),
    }
    orders = {"log_prob": int(differentiable and not discrete), "sample": 0}
    exported: dict[str, jax_export.Exported] = {}
    for name, (function, shapes) in arguments.items():
        exported[name] = _lower(
            f"{type(model).__name__}.{name}", function, shapes, platforms, batch_size
        )
    description = {
        "format": FORMAT,
        "model": type(model).__name__,
        "event_shape": list(model.event_shape),
        "context_shape": None if context_shape is None else list(context_shape),
        "dtype": np.dtype(x_type).name,
        "batch_size": batch_size,
        "bound": {"kind": bound.kind, "num_samples": bound.num_samples, "source": bound.source},
        "label": str(bound),
        "differentiable": bool(orders["log_prob"]),
        "key_impl": _KEY_IMPL,
        "jax": jax.__version__,
        "functions": {
            name: {
                "arguments": [str(aval) for aval in one.in_avals],
                "result": str(one.out_avals[0]),
                "platforms": list(one.platforms),
                "calling_convention_version": one.calling_convention_version,
            }
            for name, one in exported.items()
        },
    }
    files = {
        f"{name}.jaxexport": bytes(one.serialize(vjp_order=orders[name]))
        for name, one in exported.items()
    }
    _write(path, files | {DESCRIPTION: json.dumps(description, indent=1).encode()})


def _check_flatbuffers() -> None:
    """JAX would find out after minutes of lowering."""
    try:
        import flatbuffers  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "export: jax.export writes with the package flatbuffers; pip install 'dgmjax[interop]'."
        ) from error


def _typed(key_data: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(key_data, impl=_KEY_IMPL)


def _lower(
    name: str,
    function: Callable[..., jax.Array],
    shapes: list[jax.ShapeDtypeStruct],
    platforms: Sequence[str] | None,
    batch_size: int | None,
) -> jax_export.Exported:
    """Export the function of one event over a batch; for as many platforms as it has lowerings for."""
    # A program of one event under vmap: what a model computes from shapes never meets a symbolic batch size.
    batched = jax.jit(jax.vmap(function))
    candidates = [tuple(platforms)] if platforms else [PLATFORMS]
    if platforms is None:
        candidates += [("cpu", "cuda"), ("cpu", "tpu"), ("cpu",)]
    for attempt in candidates:
        try:
            return jax_export.export(batched, platforms=attempt)(*shapes)
        except Exception as error:  # noqa: BLE001 - whatever stops a lowering, the next may do
            reason = error
    fix = "pass batch_size= to fix the batch, " if batch_size is None else ""
    raise ValueError(
        f"export: {name} cannot be exported for {candidates[-1]}: {type(reason).__name__}: "
        f"{str(reason).splitlines()[0]}; {fix}or platforms= to choose others."
    ) from reason


def _write(path: pathlib.Path, files: dict[str, bytes]) -> None:
    """Make the folder beside its place and move it there."""
    new, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name, content in files.items():
        (new / name).write_bytes(content)
    write_manifest(new)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)
