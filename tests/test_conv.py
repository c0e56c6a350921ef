"""Laws of the convolution: lax's values and derivatives to all orders, in layouts that are fast inside a loop."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.numerics.conv import conv2d
from dgmjax.numerics.reversible import reversible_scan

# Kernel [kh, kw], stride, padding.
CASES = {
    "3x3": ((3, 3), 1, "SAME"),
    "even and oblong": ((2, 4), 1, "SAME"),
    "valid": ((3, 3), 1, "VALID"),
    "strided": ((3, 3), 2, "SAME"),
    "strided, valid": ((2, 2), 2, "VALID"),
    "pairs": ((3, 3), 1, ((2, 0), (1, 3))),
    "1x1": ((1, 1), 1, "SAME"),
    "1x1, strided": ((1, 1), 2, "VALID"),
    "1x1, padded": ((1, 1), 1, ((1, 1), (0, 0))),
}


def normal(seed, *shape, dtype=np.float64):
    return jnp.asarray(np.random.RandomState(seed).normal(size=shape).astype(dtype))


def lax_conv(x, kernel, stride, padding):
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)


def close(a, b, tolerance=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance), a, b)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_and_derivatives_are_those_of_lax(case):
    size, stride, padding = case
    x, x_dot = normal(0, 2, 6, 5, 3), normal(1, 2, 6, 5, 3)
    kernel, kernel_dot = normal(2, *size, 3, 4), normal(3, *size, 3, 4)

    def derivatives(conv):
        def everything(x, kernel, x_dot, kernel_dot):
            def function(x, kernel):
                return conv(x, kernel)

            out, pull = jax.vjp(function, x, kernel)
            # Of one argument the other has no tangent at all: a rule of its own.
            of_image = jax.jvp(lambda x: function(x, kernel), (x,), (x_dot,))[1]
            of_kernel = jax.jvp(lambda k: function(x, k), (kernel,), (kernel_dot,))[1]
            both = jax.jvp(function, (x, kernel), (x_dot, kernel_dot))[1]

            def loss(x, kernel):
                return jnp.sin(function(x, kernel)).sum()

            gradient = jax.grad(loss, (0, 1))
            second = jax.jvp(gradient, (x, kernel), (x_dot, kernel_dot))[1]
            return out, pull(jnp.cos(out)), of_image, of_kernel, both, second

        return jax.jit(everything)(x, kernel, x_dot, kernel_dot)

    def ours(x, kernel):
        return conv2d(x, kernel, stride=stride, padding=padding)

    def theirs(x, kernel):
        return lax_conv(x, kernel, stride, padding)

    close(derivatives(ours), derivatives(theirs), 1e-12)


def test_batch_axes_agree_and_so_does_vmap():
    x, kernel = normal(0, 2, 3, 4, 5, 2), normal(1, 3, 3, 2, 3)
    out = conv2d(x, kernel)
    assert out.shape == (2, 3, 4, 5, 3)
    close(conv2d(x[0], kernel), out[0])
    close(conv2d(x[1, 2], kernel), out[1, 2])
    close(jax.vmap(jax.vmap(lambda x: conv2d(x, kernel)))(x), out)
    kernels = jnp.stack([kernel, 2.0 * kernel])
    close(jax.vmap(conv2d)(x, kernels), jnp.stack([out[0], 2.0 * out[1]]))


def test_vmap_of_a_gradient_is_one_an_example():
    x, kernel = normal(0, 3, 4, 5, 2), normal(1, 3, 3, 2, 3)
    gradient = jax.grad(lambda k, x: jnp.sin(conv2d(x, k)).sum())
    close(jax.vmap(gradient, (None, 0))(kernel, x), jnp.stack([gradient(kernel, a) for a in x]))


def test_jacobians_agree():
    """The laws of image layers compare log-determinants with those of jacfwd."""
    x, kernel = normal(0, 3, 4, 2), normal(1, 3, 3, 2, 2)
    forward = jax.jacfwd(lambda x: jnp.tanh(conv2d(x, kernel)))(x)
    close(forward, jax.jacrev(lambda x: jnp.tanh(conv2d(x, kernel)))(x))


def step(kernels, x):
    hidden = jnp.tanh(conv2d(x, kernels[0]))
    return x + 0.1 * conv2d(jnp.tanh(conv2d(hidden, kernels[1])), kernels[2])


def stack(dtype=np.float64):
    shapes = (3, 3, 2, 4), (1, 1, 4, 4), (3, 3, 4, 2)
    return tuple(normal(i, 5, *shape, dtype=dtype) for i, shape in enumerate(shapes))


def scanned(kernels, x):
    return jax.lax.scan(lambda x, kernels: (step(kernels, x), None), x, kernels)[0]


def test_a_scan_has_the_gradients_of_the_unrolled_loop():
    kernels, x = stack(), normal(9, 2, 4, 4, 2)

    def unrolled(kernels, x):
        for index in range(5):
            x = step([k[index] for k in kernels], x)
        return x

    def rematerialized(kernels, x):
        body = jax.checkpoint(lambda x, kernels: (step(kernels, x), None))
        return jax.lax.scan(body, x, kernels)[0]

    def gradient(function):
        return jax.jit(jax.grad(lambda *a: jnp.sin(function(*a)).sum(), (0, 1)))(kernels, x)

    expected = gradient(unrolled)
    close(gradient(scanned), expected)
    close(gradient(rematerialized), expected)


def couple(kernel, x, _):
    a, b = x
    return (b + conv2d(a, kernel), a), ()


def uncouple(kernel, x, _):
    b, a = x
    return a, b - conv2d(a, kernel)


def stretch(kernel, x, _):
    return (x[0] * jnp.exp(kernel.mean()), x[1]), ()


def shrink(kernel, y, _):
    return y[0] * jnp.exp(-kernel.mean()), y[1]


@pytest.mark.parametrize(
    ("steps", "backs"),
    [(couple, uncouple), ([couple], [uncouple]), ([stretch, couple], [shrink, uncouple])],
    ids=["function", "one part", "two parts"],
)
def test_a_reversible_scan_has_the_gradients_of_a_scan(steps, backs):
    kernels, x = normal(0, 3, 3, 3, 2, 2), (normal(1, 4, 4, 2), normal(2, 4, 4, 2))

    def reversible(kernels, x):
        return reversible_scan(steps, backs, kernels, x)[0]

    def plain(kernels, x):
        def step(x, kernel):
            for part in steps if isinstance(steps, list) else [steps]:
                x = part(kernel, x, None)[0]
            return x, None

        return jax.lax.scan(step, x, kernels)[0]

    def gradient(function):
        return jax.jit(jax.grad(lambda *a: jnp.sin(function(*a)[0]).sum(), (0, 1)))(kernels, x)

    close(gradient(reversible), gradient(plain), 1e-10)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the layouts of XLA's CPU backend")
def test_every_convolution_of_a_scanned_gradient_has_the_fast_layout():
    """Plain ``conv_general_dilated`` leaves b01f_01oi->b01f and f01b_i01o->01bf in the loops, 20 times slower."""
    gradient = jax.grad(lambda kernels, x: scanned(kernels, x).sum(), (0, 1))
    lowered = jax.jit(gradient).lower(stack(np.float32), normal(9, 2, 4, 4, 2, dtype=np.float32))
    program = lowered.compile().as_text()
    layouts = re.findall(r" convolution\(.*dim_labels=([^\s,]+)", program)
    # In a step two are not 1x1: forward, and the gradients of images and of kernels.
    assert len(layouts) >= 6
    assert set(layouts) == {"b01f_01io->b01f"}
    assert " while(" in program


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_dtype_is_kept(dtype):
    x, kernel = jnp.ones((2, 4, 4, 2), dtype), jnp.ones((3, 3, 2, 3), dtype)
    gradient = jax.grad(lambda x, k: conv2d(x, k).astype(jnp.float32).sum(), (0, 1))
    assert conv2d(x, kernel).dtype == dtype
    assert [g.dtype for g in gradient(x, kernel)] == [dtype, dtype]


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4, 5)])
def test_shapes_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match="conv2d: expected images"):
        conv2d(jnp.ones(shape), jnp.ones((3, 3, 2, 3)))
