"""Keys of batches: each example draws what it would draw alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.numerics import prng
from dgmjax.numerics.loop_dtype import steady

KEY = jax.random.key(3)


def same(a: jax.Array, b: jax.Array) -> bool:
    return bool((jax.random.key_data(a) == jax.random.key_data(b)).all())


def test_parts_of_a_key_are_those_of_jax():
    ours, theirs = prng.split(KEY, 3), jax.random.split(KEY, 3)
    assert all(map(same, ours, theirs))
    keys = jax.random.split(KEY, 4).reshape(2, 2)
    first, second = prng.split(keys)
    assert same(first[1, 0], jax.random.split(keys[1, 0])[0])
    assert same(second[1, 0], jax.random.split(keys[1, 0])[1])


def test_later_examples_have_later_keys():
    all_keys = prng.example_keys(KEY, 8)
    assert same(all_keys[5], jax.random.fold_in(KEY, 5))
    assert same(prng.example_keys(KEY, 3, start=5), all_keys[5:])


def test_every_key_draws_its_part():
    keys = jax.random.split(KEY, 2)
    drawn = prng.draw(jax.random.normal, keys, (2, 3))
    for key, part in zip(keys, drawn, strict=True):
        np.testing.assert_array_equal(part, jax.random.normal(key, (3,)))


def test_keys_of_other_axes_are_refused():
    keys = jax.random.split(KEY, 2)
    with pytest.raises(ValueError, match=r"batch axes of \(3, 2\), got keys of shape \(2,\)"):
        prng.draw(jax.random.normal, keys, (3, 2))


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float16", "bfloat16", "float32")])
def test_a_loop_starts_in_the_dtype_that_it_reaches(dtypes):
    x, *others = (jnp.zeros((), dtype) for dtype in dtypes)

    def step(x: jax.Array) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):
            for other in others:
                x = x + other
        return x

    assert steady(step, x, *others).dtype == jnp.float32
