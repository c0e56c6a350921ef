"""Floating-point operations of a program, and what a device can do at most: the two sides of a utilization."""

import math
import re
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

# Dense peaks a second of what JAX calls one device. NVIDIA: data sheets, where figures "with sparsity" are twice
# these; a slice of a GPU (MIG) and what is not listed, as H100 NVL, is none of them. TPU: the system architecture pages
# of Google Cloud, a chip; a device of v2 and v3 is one of its two cores.
_PEAKS = {
    r"NVIDIA H200": 989e12,
    r"NVIDIA H100 \d+GB HBM3": 989e12,
    r"NVIDIA H100 PCIe": 756e12,
    r"(NVIDIA )?A100-(SXM4|PCIE)-\d+GB|NVIDIA A100 80GB PCIe": 312e12,
    r"Tesla V100-SXM2-\d+GB": 125e12,
    r"Tesla V100-PCIE-\d+GB": 112e12,
    r"NVIDIA L4": 121e12,
    r"NVIDIA GeForce RTX 4090": 165e12,
    r"TPU v2": 22.5e12,
    r"TPU v3": 61.5e12,
    r"TPU v4": 275e12,
    r"TPU v5 lite|TPU v5e": 197e12,
    r"TPU v5|TPU v5p": 459e12,
    r"TPU v6 lite|TPU v6e": 918e12,
}


def count_flops(jaxpr: ClosedJaxpr | Jaxpr) -> float:
    """Floating-point operations of the matrix products and convolutions of a traced program, on all its devices.

    A product of ``[b, m, k]`` and ``[b, k, n]`` counts ``2 b m n k``; a convolution ``2 * output elements * spatial
    size of the kernel * input channels of a group``, at the border too, and divided by the dilation of its input,
    whose holes nothing multiplies: gradients of strided convolutions then cost what the convolution does.

    Nothing else is counted: the convention of "model FLOPs", by which elementwise maps, and also triangular solves and
    decompositions, are free. With it the model FLOPs utilization is::

        flops = count_flops(jax.jit(step).trace(state, batch).jaxpr)  # or of jax.make_jaxpr(step)(state, batch)
        utilization = flops / (seconds_a_step * sum(peak_flops(device) for device in jax.devices()))

    What is counted is the program as traced. The recomputation of ``jax.checkpoint`` and of a reversible
    `dgmjax.Stack` is part of it, which gives the utilization of the hardware; for that of the model trace the step
    without them. So are results that nobody uses, which the compiler removes.

    Loops: the body of a ``scan`` times its length, of a ``while`` once, since nobody knows how often it runs; the
    largest branch of a ``cond``. The body of ``shard_map`` counts on every device. Kernels outside XLA (Pallas, cuDNN
    attention) are not seen right.

    Args:
      jaxpr: of ``jax.make_jaxpr(f)(*args)`` or ``jax.jit(f).trace(*args).jaxpr``.

    Source: Chowdhery et al., 2022, *PaLM*, arXiv:2204.02311, appendix B.
    """
    return float(sum(_equation(equation) for equation in jaxpr.eqns))


def peak_flops(device: jax.Device) -> float | None:
    """Peak of ``device`` for dense matrix products in bfloat16 (V100: float16), in operations a second.

    None for CPUs and for accelerators that are not listed. Float32 programs cannot reach it: where JAX lets them use
    TF32, its peak is about half on an H100 or H200, and full float32 is far below; so a utilization of theirs is small
    by its denominator alone.

    Args:
      device: e.g. ``jax.devices()[0]``.
    """
    for kind, peak in _PEAKS.items():
        if re.fullmatch(kind, device.device_kind):
            return peak
    return None


def _equation(equation: Any) -> int | float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _dot(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name == "custom_linear_solve":  # the other functions it holds are for its derivatives
        return count_flops(params["jaxprs"].solve)
    inner = [count_flops(jaxpr) for jaxpr in _inner(params)]
    if name == "cond":
        return max(inner)
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "shard_map":
        return _shards(params) * sum(inner)
    return sum(inner)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(item, "eqns"):
                yield item


def _dot(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    lhs, out = equation.invars[0].aval, equation.outvars[0].aval
    return 2 * out.size * math.prod(lhs.shape[axis] for axis in contracted)


def _convolution(equation: Any) -> float:
    kernel, out = equation.invars[1].aval, equation.outvars[0].aval
    # [out_channels, in_channels / groups, *spatial]; the groups of the batch have kernels of their own, too.
    out_channels = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    dilation = math.prod(equation.params["lhs_dilation"])
    return 2 * out.size * (kernel.size // out_channels) / dilation


def _shards(params: dict[str, Any]) -> int:
    mesh = params["mesh"]
    axes = params.get("newly_manual_axes", params.get("manual_axes", mesh.axis_names))
    return math.prod(mesh.shape[axis] for axis in axes)
