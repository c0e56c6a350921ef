"""Where NaN and inf come from: the layer, the operation and the line."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.training.watch.nonfinite import NonFinite, find_nonfinite

pytestmark = pytest.mark.usefixtures("x32")
X = jnp.asarray(np.random.RandomState(0).normal(size=(3, 4)), jnp.float32)
INF = float("inf")


def value_and_grad(model, x):
    return jax.value_and_grad(lambda model: -model.log_prob(x).mean())(model)


def flow_with(value: float, *, index: int, reversible: bool = False) -> dgm.RealNVP:
    """A flow of six couplings, of which one has only ``value`` in the last matrix of its network."""
    flow = dgm.RealNVP((4,), depth=6, width=8, reversible=reversible, rngs=nnx.Rngs(0))
    kernel = flow.bijector.layers[0].layer.conditioner.last.kernel
    kernel[...] = kernel[...].at[index].set(value)
    return flow


def line_of(function, text: str) -> str:
    """``"tests/test_nonfinite.py:line "`` of the line of ``function`` that contains ``text``."""
    lines, start = inspect.getsourcelines(function)
    (offset,) = [i for i, line in enumerate(lines) if text in line]
    return f"tests/test_nonfinite.py:{start + offset} "


@pytest.mark.parametrize("reversible", [False, True])
def test_the_layer_of_a_stack_is_named(reversible):
    found = find_nonfinite(value_and_grad, flow_with(3e38, index=2, reversible=reversible), X)
    assert found.layer == "Chain.inverse > layers[0] > Stack.inverse[2] > Coupling.inverse"
    assert (found.primitive, found.direction, found.kind) == ("dot_general", "forward", "inf")
    assert "nets/" in found.source
    assert str(found).startswith(
        "The first inf comes from dot_general in Chain.inverse > layers[0]"
    )


def test_a_stack_that_recomputes():
    flow = flow_with(3e38, index=2)
    (stack,) = flow.bijector.layers
    flow.bijector.layers[0] = dgm.Stack(stack.layers, remat=True)
    found = find_nonfinite(value_and_grad, flow, X)
    assert found.layer == "Chain.inverse > layers[0] > Stack.inverse[2] > Coupling.inverse"


def test_the_index_of_a_reversed_scan_is_that_of_the_layer():
    def sample(model):
        return model.sample(seed=jax.random.key(0), sample_shape=3)

    found = find_nonfinite(sample, flow_with(3e38, index=4))
    assert found.layer == "Chain.forward > layers[0] > Stack.forward[4] > Coupling.forward"


@pytest.mark.parametrize(("reverse", "step"), [(False, "[3]"), (True, "[0]")])
def test_steps_run_in_the_order_of_the_scan(reverse, step):
    def function(start):
        return jax.lax.scan(
            lambda carry, x: (carry - x, jnp.log(carry)), start, jnp.ones(4), reverse=reverse
        )[1]

    assert find_nonfinite(function, jnp.float32(2.5)).layer == step


@pytest.mark.parametrize("reversible", [False, True])
def test_finite_gradients_of_a_flow(reversible):
    assert find_nonfinite(value_and_grad, flow_with(0.1, index=2, reversible=reversible), X) is None


def test_an_input_is_named_with_the_place():
    found = find_nonfinite(value_and_grad, flow_with(INF, index=2), X)
    assert (found.layer, found.primitive, found.kind) == ("", "input", "inf")
    assert found.source.startswith("args[0].bijector.layers[0].layer.conditioner.last.kernel")
    assert found.source.endswith("first at index (2, 0, 0)")
    found = find_nonfinite(lambda batch: batch["x"].sum(), {"x": X.at[1, 3].set(jnp.nan), "y": X})
    assert str(found) == "The input args[0]['x'], first at index (1, 3) holds NaN."


def test_a_constant_that_is_nan_is_one():
    x = X.at[1, 3].set(jnp.nan)
    found = find_nonfinite(lambda scale: (scale * x).sum(), jnp.float32(2.0))
    assert (found.primitive, found.source) == ("constant", "float32[3,4], first at index (1, 3)")


def masked_root(x):
    return jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, lambda f: f])
def test_a_gradient_that_is_nan_at_a_finite_value(transform):
    found = find_nonfinite(jax.value_and_grad(transform(masked_root)), jnp.array([0.0, 4.0]))
    assert (found.direction, found.kind) == ("backward", "inf")
    assert found.source == line_of(masked_root, "jnp.sqrt") + "(masked_root)"


def test_a_gradient_in_a_scan():
    def loss(x):
        return jax.lax.scan(lambda total, row: (total + masked_root(row), None), 0.0, x)[0]

    found = find_nonfinite(jax.value_and_grad(loss), X.at[1].set(0.0) ** 2)
    assert (found.layer, found.direction) == ("[1]", "backward")


def test_value_before_gradient():
    """The loss explains a bad step better than a derivative does, though that came earlier."""

    def loss(x):
        return masked_root(x) + jnp.exp(100.0 * x[1])

    found = find_nonfinite(jax.value_and_grad(loss), jnp.array([0.0, 4.0]))
    assert (found.primitive, found.direction) == ("exp", "forward")


def test_inside_a_while_loop():
    def function(x):
        return jax.lax.while_loop(
            lambda carry: carry[0] < 5, lambda carry: (carry[0] + 1, jnp.log(carry[1])), (0, x)
        )[1]

    found = find_nonfinite(function, jnp.float32(2.0))  # log(log(2)) < 0
    assert (found.layer, found.primitive, found.kind) == ("[2]", "log", "NaN")
    assert found.source.startswith(line_of(function, "jnp.log"))


def test_inside_a_vmapped_while_loop():
    """Examples that are done keep their value, however often the others go round."""

    def function(limit, x):
        return jax.lax.while_loop(
            lambda carry: carry[0] < limit, lambda carry: (carry[0] + 1, jnp.log(carry[1])), (0, x)
        )[1]

    vmapped = jax.vmap(function)
    assert find_nonfinite(vmapped, jnp.array([0, 6]), jnp.array([-1.0, 1e30])).layer == "[5]"
    assert find_nonfinite(vmapped, jnp.array([0, 2]), jnp.array([-1.0, 1e30])) is None


@pytest.mark.parametrize(("index", "primitive"), [(0, None), (1, "log"), (7, "exp")])
def test_inside_a_branch(index, primitive):
    def function(index, x):
        branches = [jnp.sin, jnp.log, lambda x: jnp.exp(-100.0 * x)]
        with jax.named_scope("branches"):
            return jax.lax.switch(index, branches, x)

    found = find_nonfinite(function, index, jnp.float32(-2.0))
    if primitive is None:
        assert found is None
    else:
        assert (found.layer, found.primitive) == ("branches", primitive)


def masked_logits(x):
    return jnp.where(jnp.arange(4) < 2, x, -INF)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jax.nn.logsumexp(masked_logits(x)),
        lambda x: jax.nn.softmax(masked_logits(x)).sum(),
        lambda x: jax.nn.softmax(x + jnp.log(jnp.array([1.0, 1.0, 0.0, 0.0]))).max(),
        lambda x: jnp.where(x > 9.0, jnp.log(0.0 * jax.lax.stop_gradient(x)), x).sum(),
        lambda x: jax.lax.cummax(masked_logits(x)).max(),
    ],
)
def test_innocent_infinities(function):
    assert find_nonfinite(jax.value_and_grad(function), X[0]) is None


def test_a_mask_that_hides_everything():
    def function(x):
        logits = jnp.where(jnp.zeros(4, bool), x, -INF)
        weights = jnp.exp(logits - logits.max())
        return weights / weights.sum()

    found = find_nonfinite(function, X[0])
    assert (found.primitive, found.kind) == ("sub", "NaN")
    assert found.source.startswith(line_of(function, "jnp.exp"))


def test_an_output_that_is_a_masked_constant():
    found = find_nonfinite(masked_logits, X[0])
    assert found.kind == "inf"
    assert found.source.startswith(line_of(masked_logits, "jnp.where"))
    assert find_nonfinite(lambda: jnp.float32(INF)).primitive == "constant"


@jax.custom_vjp
def clipped_log(x):
    return jnp.log(x)


def clipped_log_backward(x, cotangent):
    return (cotangent / (x - x),)


clipped_log.defvjp(lambda x: (clipped_log(x), x), clipped_log_backward)


@pytest.mark.parametrize(
    ("function", "x", "direction", "primitive"),
    [
        (clipped_log, -1.0, "forward", "log"),
        (jax.value_and_grad(clipped_log), -1.0, "forward", "log"),
        (jax.value_and_grad(clipped_log), 1.0, "backward", "div"),
    ],
)
def test_custom_derivatives(function, x, direction, primitive):
    found = find_nonfinite(function, jnp.float32(x))
    assert isinstance(found, NonFinite)
    assert (found.direction, found.primitive) == (direction, primitive)


def test_arguments_are_not_donated():
    x = jnp.array([-1.0, 2.0])
    found = find_nonfinite(jax.jit(jnp.log, donate_argnums=0), x)
    assert found.primitive == "log"
    assert float(x[1]) == 2.0


def test_under_debug_nans():
    with jax.debug_nans(True):
        assert find_nonfinite(jnp.log, jnp.float32(-1.0)).primitive == "log"
