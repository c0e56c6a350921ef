"""Checks of every model where values enter, by the smallest examples."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgmjax import checks

X = jnp.ones((5, 2, 3))


def test_the_axes_before_the_event_are_the_batch():
    assert checks.batch_shape(X, (2, 3), where="f") == (5,)
    assert checks.batch_shape(X, (), where="f") == (5, 2, 3)
    for shape in ((3, 2), (2, 2), (5, 2, 3, 1), (6,)):
        with pytest.raises(ValueError, match="f: expected an array of shape"):
            checks.batch_shape(X, shape, where="f")


@pytest.mark.parametrize(
    ("given", "of_model", "expected"),
    [
        (jnp.bfloat16, jnp.float32, jnp.float32),
        (jnp.float16, jnp.float64, jnp.float64),
        (jnp.float64, jnp.float32, jnp.float64),
        (jnp.float32, jnp.float32, jnp.float32),
        (jnp.float32, jnp.bfloat16, jnp.float32),
    ],
)
def test_events_and_contexts_are_no_narrower_than_the_model(given, of_model, expected):
    event, batch = checks.float_event(X.astype(given), (3,), where="f", dtype=of_model)
    assert (event.dtype, batch) == (expected, (5, 2))
    context = checks.as_context(X.astype(given), (3,), (5, 2), where="f", dtype=of_model)
    assert context.dtype == expected


def test_sums_of_16_bits_are_made_in_32():
    for given, expected in (
        (jnp.bfloat16, jnp.float32), (jnp.float16, jnp.float32), (jnp.float32, jnp.float32), (jnp.float64, jnp.float64)
    ):  # fmt: skip
        assert checks.widened(jnp.ones(2, given)).dtype == expected


def test_bytes_hold_256_levels():
    for levels, dtype in ((2, jnp.uint8), (256, jnp.uint8), (257, jnp.int32)):
        assert checks.level_dtype(levels) == dtype


def test_classes_are_one_hot_and_those_that_do_not_exist_are_nan():
    classes = jnp.asarray([0, 2, 3, -1])
    found = checks.as_context(classes, (3,), (4,), where="f", dtype=jnp.float32)
    np.testing.assert_array_equal(found[:2], [[1, 0, 0], [0, 0, 1]])
    assert np.isnan(found[2:]).all()
    checks.check_class_range(np.asarray([0, 2]), 3, where="f")
    for bad in (3, -1):
        with pytest.raises(ValueError, match=r"f: classes must lie in 0 \.\. 2"):
            checks.check_class_range(np.asarray([0, bad]), 3, where="f")


def test_contexts_broadcast_to_the_batch_of_the_value_and_never_the_reverse():
    def rows(*batch):
        return checks.as_context(
            jnp.ones((*batch, 3)), (3,), (5, 2), where="f", dtype=jnp.float32
        ).shape

    assert [rows(), rows(2), rows(1, 2), rows(5, 1), rows(5, 2)] == [
        (3,), (2, 3), (1, 2, 3), (5, 1, 3), (5, 2, 3)
    ]  # fmt: skip
    for batch in ((5,), (3, 5, 2), (4, 2)):
        with pytest.raises(ValueError, match="do not broadcast to the batch axes"):
            rows(*batch)
    with pytest.raises(ValueError, match="do not broadcast to the batch axes"):
        checks.as_context(jnp.ones((7, 3)), (3,), (1,), where="f", dtype=jnp.float32)


def test_samples_have_the_axes_asked_for_and_then_those_of_the_context():
    context = jnp.ones((4, 6, 3))
    assert checks.sample_batch((5, 2), context, (3,)) == (5, 2, 4, 6)
    assert checks.sample_batch(7, context[0, 0], (3,)) == (7,)
    assert checks.sample_batch((), None, None) == ()


def test_arrays_of_numpy_lose_their_byte_order_and_their_mask():
    swapped = np.asarray([1.0, 2.0], ">f8")
    native = checks.native_array(swapped, where="f")
    assert native.dtype.isnative
    np.testing.assert_array_equal(native, [1.0, 2.0])
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, False])
    assert type(checks.native_array(masked, where="f")) is np.ndarray
    with pytest.raises(TypeError, match="1 values of the masked array"):
        checks.native_array(np.ma.masked_array([1.0, 2.0], mask=[False, True]), where="f")


def test_a_module_computes_in_the_dtype_of_its_first_array():
    class Two(nnx.Module):
        def __init__(self):
            self.a = nnx.Param(jnp.arange(2))
            self.b = nnx.Param(jnp.ones(2, jnp.bfloat16))
            self.c = nnx.Param(jnp.ones(2, jnp.float32))

    assert checks.own_dtype(Two()) == jnp.bfloat16
    assert checks.own_dtype({"a": jnp.arange(2)}) is None
    assert checks.floating_dtype({}) == jnp.float64  # JAX's own
