"""Tables of models and counts of operations: against sums over the parameters, against counts by hand and XLA's."""

import os
import types

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.nets.summary import summary
from dgmjax.training.run_state import RunState
from dgmjax.training.watch.flops import count_flops, peak_flops
from dgmjax.training.watch.program import Program


def digits() -> dgm.Dequantized:
    flow = dgm.RealNVP(
        (8,), depth=4, width=16, preprocess=dgm.HistogramGaussianize((8,), 17), rngs=nnx.Rngs(0)
    )
    return dgm.Dequantized(flow, 17)


class Odd(nnx.Module):
    """What no class of this library is: containers, a parameter beside modules, a shared module, noise."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        parts = [nnx.Conv(3, 5, (3, 3), rngs=rngs), (nnx.BatchNorm(5, rngs=rngs),)]
        self.parts = nnx.data({"a": nnx.Linear(3, 3, rngs=rngs), "b": parts})
        self.scale = nnx.Param(jnp.ones((3,), jnp.bfloat16))
        self.seq = nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), nnx.Dropout(0.1, rngs=rngs))
        self.tied = self.seq.layers[0]
        self.function = jax.nn.relu


MODELS = {
    "RealNVP": lambda: dgm.RealNVP((2,), depth=8, width=16, rngs=nnx.Rngs(0)),
    "digits": digits,
    "MAF": lambda: dgm.MAF((3,), depth=3, width=8, rngs=nnx.Rngs(0)),
    "ResidualFlow": lambda: dgm.ResidualFlow((2,), depth=2, width=8, rngs=nnx.Rngs(0)),
    "NICE": lambda: dgm.NICE((4,), width=8, rngs=nnx.Rngs(0)),
    "base flow": lambda: dgm.Flow(
        dgm.ActNorm((2,)), dgm.Flow(dgm.ActNorm((2,)), distrax.MultivariateNormalDiag(jnp.ones(2)))
    ),
    "odd": Odd,
    "empty": nnx.Module,
}


@pytest.fixture(scope="module")
def models():
    return {name: make() for name, make in MODELS.items()}


def rows_of(text: str) -> list[tuple[int, str, list[str]]]:
    """Level, path and the last three columns of each row."""
    lines = text.splitlines()
    rules = [index for index, line in enumerate(lines) if set(line) == {"-"}]
    kind, output = lines[0].index("type"), lines[0].index("output")
    rows, path = [], []
    for line in lines[rules[0] + 1 : rules[1]]:
        name = line[:kind].rstrip()
        level = (len(name) - len(name.lstrip())) // 2
        path = [*path[:level], name.strip().replace("[", "/").replace("]", "").replace(".", "/")]
        rows.append((level, "/".join(path[1:]), [line[kind:output].strip(), *line.split()[-3:]]))
    return rows


def number(columns: list[str]) -> int:
    return int(columns[1].replace(",", ""))


@pytest.mark.parametrize("depth", [0, 2, 4, 99])
@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_is_in_one_leaf_row(models, name, depth):
    if name == "odd" and os.environ.get("NNX_GRAPH_MODE") == "false":
        pytest.skip("without graph mode nnx.split refuses shared modules")
    params, fixed, _ = dgm.training.partition(models[name])
    text = summary(models[name], depth=depth)
    assert all(len(line) <= 100 for line in text.splitlines())
    rows = rows_of(text)
    leaves = [
        row for row, after in zip(rows, [*rows[1:], rows[0]], strict=True) if after[0] <= row[0]
    ]
    assert max(level for level, _, _ in rows) <= depth
    total = sum(array.size for array in params.values())
    assert sum(number(columns) for _, _, columns in leaves) == number(rows[0][2]) == total
    found: dict[str, int] = {}
    for parameter, array in params.items():
        within = [p for _, p, _ in leaves if f"{parameter}/".startswith(f"{p}/" if p else "")]
        assert len(within) == 1, parameter
        found[within[0]] = found.get(within[0], 0) + array.size
    for _, path, columns in leaves:
        assert found.get(path, 0) == number(columns), path
    footer = {line[:12].strip(): line.split() for line in text.splitlines()}
    assert int(footer["parameters"][-3].replace(",", "")) == total
    assert int(footer["fixed arrays"][-3].replace(",", "")) == sum(
        np.size(array) for array in fixed.values()
    )


@pytest.mark.parametrize("name", [name for name in MODELS if name != "odd"])
def test_an_abstract_model_has_the_same_table(models, name):
    assert summary(jax.eval_shape(MODELS[name]), depth=99) == summary(models[name], depth=99)


def test_the_table_of_a_flow(models):
    text = summary(models["digits"], depth=6)
    squeezed = [" ".join(line.split()) for line in text.splitlines()]
    # Couplings 4 -> 16 -> 16 -> (4, 2): 80 + 272 + 136 parameters, four of them.
    assert squeezed[0] == "layer type output parameters memory"
    assert squeezed[2:] == [
        "model Dequantized (8,) 1,952 7.6 KiB",
        "density RealNVP (8,) 1,952 7.6 KiB",
        "base IID (8,) 0 0 B",
        "bijector Chain (8,) 1,952 7.6 KiB",
        "layers[0] HistogramGaussianize (8,) 0 0 B",
        "layers[1] Stack (8,) 1,952 7.6 KiB",
        "layer Coupling x 4 (8,) 1,952 7.6 KiB",
        "conditioner MLP (4, 2) 1,952 7.6 KiB",
        "hidden[0] Linear (16,) 320 1.2 KiB",
        "hidden[1] Linear (16,) 1,088 4.2 KiB",
        "last Linear (8,) 544 2.1 KiB",
        "dequantization UniformDequantization (8,) 0 0 B",
        squeezed[1],
        "parameters 1,952 7.6 KiB",
        "fixed arrays 139 556 B",  # with the one that remembers that the histogram is set
        "Rows with `x n`, and those below them, count all n layers of a Stack.",
    ]
    assert summary(models["digits"], depth=4).endswith("depth=6 shows the modules inside, too.")


def test_modules_of_others_are_shown_with_what_they_tell(models):
    text = summary(models["odd"])
    rows = {path: columns for _, path, columns in rows_of(text)}
    assert rows["parts/b/0"] == ["Conv", "140", "560", "B"]
    assert "(..., 5)" in text
    assert rows["scale"] == ["Param", "3", "6", "B"]
    assert "tied" not in rows


def test_long_names_are_cut_in_the_middle():
    model = nnx.Module()
    setattr(model, "head_" + "long_" * 30 + "tail", nnx.Linear(3, 3, rngs=nnx.Rngs(0)))
    lines = summary(model).splitlines()
    assert {len(line) for line in lines} == {100}
    name = lines[3].split()[0]
    assert name.startswith("head_long_")
    assert name.endswith("_long_tail")
    assert "..." in name


def test_a_negative_depth_is_an_error(models):
    with pytest.raises(ValueError, match="summary: depth must be 0 or more, got -1"):
        summary(models["NICE"], depth=-1)


def count(function, *args) -> float:
    return count_flops(jax.make_jaxpr(function)(*args))


BATCH, WIDTH, LAYERS = 32, 8, 3


def layer(x, kernel):
    return jnp.tanh(x @ kernel)


def network(kernels, x):
    for kernel in kernels:
        x = layer(x, kernel)
    return (x**2).sum()


def test_a_gradient_costs_twice_its_function_without_that_of_the_data():
    kernels, x = list(jnp.ones((LAYERS, WIDTH, WIDTH))), jnp.ones((BATCH, WIDTH))
    product = 2 * BATCH * WIDTH * WIDTH
    assert count(network, kernels, x) == LAYERS * product
    step = jax.value_and_grad(network)
    assert count(step, kernels, x) == (3 * LAYERS - 1) * product
    assert count_flops(jax.jit(step).trace(kernels, x).jaxpr) == count(step, kernels, x)
    assert count_flops(jax.make_jaxpr(step)(kernels, x).jaxpr) == count(step, kernels, x)
    assert count(jax.value_and_grad(network, (0, 1)), kernels, x) == 3 * LAYERS * product
    batched = jax.vmap(network, (None, 0))
    assert count(batched, kernels, jnp.stack([x, x])) == 2 * LAYERS * product


CONVOLUTIONS = {
    "plain": ((3, 3, 4, 6), {}, 2 * (2 * 8 * 8 * 6) * 9 * 4),
    "strided": ((3, 3, 4, 6), {"window_strides": (2, 2)}, 2 * (2 * 4 * 4 * 6) * 9 * 4),
    "groups": ((3, 3, 2, 6), {"feature_group_count": 2}, 2 * (2 * 8 * 8 * 6) * 9 * 2),
    "depthwise": ((3, 3, 1, 4), {"feature_group_count": 4}, 2 * (2 * 8 * 8 * 4) * 9),
    "batch groups": ((3, 3, 4, 6), {"batch_group_count": 2}, 2 * (1 * 8 * 8 * 6) * 9 * 4),
    "atrous": ((3, 3, 4, 6), {"rhs_dilation": (2, 2)}, 2 * (2 * 8 * 8 * 6) * 9 * 4),
    "transposed": (
        (3, 3, 4, 6),
        {"lhs_dilation": (2, 2), "padding": [(1, 2), (1, 2)]},
        2 * (2 * 8 * 8 * 4) * 9 * 6,
    ),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_gradients(name):
    kernel_shape, options, expected = CONVOLUTIONS[name]
    x, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones(kernel_shape)

    def loss(x, kernel):
        settings = {"window_strides": (1, 1), "padding": "SAME", **options}
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=layout, **settings).sum()

    assert count(loss, x, kernel) == expected
    assert count(jax.value_and_grad(loss, (0, 1)), x, kernel) == 3 * expected


def test_loops_branches_and_calls():
    kernels, x = jnp.ones((LAYERS, WIDTH, WIDTH)), jnp.ones((BATCH, WIDTH))
    product = 2 * BATCH * WIDTH * WIDTH

    def scan(kernels, x):
        return jax.lax.scan(lambda x, kernel: (layer(x, kernel), None), x, kernels)[0].sum()

    assert count(scan, kernels, x) == LAYERS * product

    def loop(x):
        return jax.lax.while_loop(lambda x: (x @ kernels[0]).sum() < 1, lambda x: layer(x, x.T), x)

    square = jnp.ones((WIDTH, WIDTH))
    assert count(loop, square) == 2 * 2 * WIDTH**3  # condition and body, once each

    def branch(x):
        return jax.lax.cond(
            x.sum() > 0, lambda x: layer(layer(x, kernels[0]), kernels[1]), jnp.sin, x
        )

    assert count(branch, x) == 2 * product
    assert count(jax.jit(layer), x, kernels[0]) == product
    assert count(jax.numpy.linalg.solve, square, square) == 0
    with_jvp, with_vjp = jax.custom_jvp(layer), jax.custom_vjp(layer)
    with_jvp.defjvp(lambda primals, tangents: jax.jvp(layer, primals, tangents))
    with_vjp.defvjp(lambda *args: (layer(*args), args), lambda args, bar: args)
    assert count(with_jvp, x, kernels[0]) == product
    assert count(with_vjp, x, kernels[0]) == product
    gradient = jax.grad(lambda x, kernel: with_vjp(x, kernel).sum())
    assert count(gradient, x, kernels[0]) == product  # its rule has none


def test_a_shard_counts_on_every_device():
    mesh = jax.sharding.AbstractMesh((4, 2), ("data", "model"))
    specs = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    x, kernel = jnp.ones((BATCH, WIDTH)), jnp.ones((WIDTH, WIDTH))
    product = 2 * BATCH * WIDTH * WIDTH
    options = {"mesh": mesh, "in_specs": specs, "out_specs": specs[0]}
    # Over "data" the rows are split; over "model" both devices compute the same.
    assert count(jax.shard_map(layer, **options), x, kernel) == 2 * product
    assert count(jax.shard_map(layer, **options, axis_names={"data"}), x, kernel) == product


def test_recomputation_is_part_of_the_program():
    kernels, x = list(jnp.ones((LAYERS, WIDTH, WIDTH))), jnp.ones((BATCH, WIDTH))
    product = 2 * BATCH * WIDTH * WIDTH
    remat = jax.value_and_grad(jax.checkpoint(network), (0, 1))
    # Forward, forward again, and two products backward.
    assert count(remat, kernels, x) == 4 * LAYERS * product

    def of_stack(**options):
        flow = dgm.RealNVP((2,), depth=4, width=8, rngs=nnx.Rngs(0), **options)
        data = jnp.zeros((BATCH, 2), jnp.float32)
        loss = jax.value_and_grad(lambda flow, x: flow.log_prob(x).sum(), argnums=(0, 1))
        return count(loss, flow, data), count(lambda flow, x: flow.log_prob(x), flow, data)

    plain, forward = of_stack()
    assert forward == 4 * 2 * BATCH * (1 * 8 + 8 * 8 + 8 * 2)
    assert plain == 3 * forward
    assert of_stack(remat=True) == (4 * forward, forward)
    assert of_stack(reversible=True) == (5 * forward, forward)  # the inverse, and its layer again


def test_the_compiler_counts_the_same():
    kernels = list(jnp.ones((LAYERS, 128, 128), jnp.float32))
    x = jnp.ones((256, 128), jnp.float32)
    step = jax.jit(jax.value_and_grad(network))
    counted = count_flops(step.trace(kernels, x).jaxpr)
    np.testing.assert_allclose(
        step.lower(kernels, x).compile().cost_analysis()["flops"], counted, rtol=0.05
    )


PEAKS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "A100-SXM4-80GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "Tesla V100-SXM2-16GB": 125e12,
    "NVIDIA L4": 121e12,
    "NVIDIA GeForce RTX 4090": 165e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb": None,
    "NVIDIA H100 NVL": None,
    "NVIDIA L40S": None,
    "TPU v4 lite": None,
    "cpu": None,
}


@pytest.mark.parametrize("kind", PEAKS)
def test_peaks_of_known_devices(kind):
    assert peak_flops(types.SimpleNamespace(device_kind=kind)) == PEAKS[kind]


def test_this_cpu_has_no_peak():
    assert peak_flops(jax.devices("cpu")[0]) is None


def test_of_the_branches_of_a_condition_the_largest_counts():
    """One product of 4 x 4 matrices costs 128 operations."""

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, x)

    assert count_flops(jax.make_jaxpr(branch)(jnp.ones((4, 4)))) == 2 * 128


def test_a_utilization_is_of_all_devices():
    """An L4 could do 121e12 operations a second: half a step of as many, on two of them, is a quarter."""
    program = Program(lambda state, batch: state)
    devices = [types.SimpleNamespace(device_kind="NVIDIA L4")] * 2
    assert program.rates(0.5, devices) == {}
    program.flops = 121e12
    assert program.rates(0.5, devices) == {"flops_per_second": 60.5e12, "flops_utilization": 0.25}


def test_a_module_is_said_by_its_summary():
    """Of any room; arrays are in none, nor where they are traced, abstract or replaced."""
    for module in (
        digits(), dgm.nets.MLP(2, (3,), width=4, rngs=nnx.Rngs(0)), dgm.ActNorm((2,)),
        dgm.posteriors.DiagonalGaussian(2), dgm.UniformDequantization((2,)), dgm.likelihoods.Bernoulli((2,)),
    ):  # fmt: skip
        assert repr(module) == str(module) == summary(module)
    flow = dgm.MAF((2,), depth=2, width=8, rngs=nnx.Rngs(0))
    seen = []
    jax.jit(
        jax.grad(lambda flow: (seen.append(repr(flow)), flow.log_prob(jnp.ones(2, jnp.float32)))[1])
    )(flow)
    assert seen == [summary(flow)]
    assert repr(jax.eval_shape(lambda: flow)) == summary(flow)
    assert "MAF" in repr(jax.tree.map(lambda leaf: None, flow))
    assert "MAF" in repr(jax.tree.map(lambda leaf: "a sharding", flow))


def test_a_result_of_a_fit_is_a_line():
    history = [
        {"step": 10, "split": "train", "nats": 9.0, "loss": 9.0, "bound": "exact"},
        {"step": 10, "split": "validation", "nats": 9.25, "error": 0.5, "bound": "exact"},
        {"step": 20, "split": "train", "nats": 8.0, "loss": 8.5, "bound": "exact"},
    ]
    model, nll = dgm.ActNorm((2,)), "negative log-likelihood [nats]"
    found = dgm.FitResult(model, history, 10, 2_000)
    assert repr(found) == f"FitResult(ActNorm, step 10 of 2,000, validation {nll}: 9.25, exact)"
    run = RunState(None, {}, None, {"monitor": "error"})
    found = dgm.FitResult(model, history, 10, 20, run)
    assert repr(found) == "FitResult(ActNorm, step 10 of 20, validation error: 0.5, exact)"
    found = dgm.FitResult(model, history, 20, 20)
    assert str(found) == f"FitResult(ActNorm, step 20 of 20, train {nll}: 8, exact)"
    assert repr(dgm.FitResult(model, [], 0, 0)) == "FitResult(ActNorm, step 0 of 0)"
