"""Parts of networks, with values worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgmjax.nets.attention import LayerNorm, attention
from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.gan.mlp import leaky
from dgmjax.nets.gates import concat_elu, gate
from dgmjax.nets.mlp import dropout
from dgmjax.nets.residual_units import RevTransition, ShapeShortcut


def test_attention_divides_scores_by_the_root_of_the_size_of_a_head():
    query, key = np.zeros((2, 2, 1, 4))
    query[0, 0, 0], key[0, 0, 0] = (
        2.0,
        1.0,
    )  # the first pixel scores 2 / sqrt(4) = 1 with itself, all else 0
    value = np.broadcast_to(np.array([1.0, 0.0])[:, None, None], (2, 1, 4))
    out = attention(*map(jnp.asarray, (query, key, value)))
    np.testing.assert_allclose(out[0], math.e / (1.0 + math.e), rtol=1e-12)
    np.testing.assert_allclose(out[1], 0.5, rtol=1e-12)


def test_heads_of_attention_are_apart():
    random = np.random.default_rng(0)
    query, key, value = jnp.asarray(random.normal(size=(3, 5, 2, 3)))
    both = attention(query, key, value)
    for head in range(2):
        own = (part[:, head : head + 1] for part in (query, key, value))
        np.testing.assert_allclose(attention(*own), both[:, head : head + 1], rtol=1e-12)


def test_a_layer_norm_takes_mean_and_variance_of_a_pixel():
    norm = LayerNorm(2)
    norm.scale[...], norm.bias[...] = jnp.asarray([[2.0, 3.0], [0.5, 0.0]], jnp.float32)
    out = norm(jnp.asarray([[10.0, 14.0], [5.0, 5.0]]))  # 12 -+ 2
    np.testing.assert_allclose(out, [[-1.5, 3.0], [0.5, 0.0]], atol=1e-5)


def test_a_gate_is_open_where_the_second_half_is_large():
    out = gate(jnp.asarray([2.0, 3.0, 0.0, 100.0]))
    np.testing.assert_allclose(out, [1.0, 3.0], rtol=1e-12)


def test_the_concatenated_elu_keeps_both_signs():
    low = math.exp(-1.0) - 1.0
    out = concat_elu(jnp.asarray([1.0, -1.0]))
    np.testing.assert_allclose(out, [1.0, low, low, 1.0], rtol=1e-12)


def test_a_leak_is_a_fifth():
    np.testing.assert_allclose(leaky(jnp.asarray([-1.0, 2.0])), [-0.2, 2.0], rtol=1e-12)


def test_dropout_drops_a_share_and_keeps_the_mean():
    out = np.asarray(dropout(jnp.ones(10_000), 0.2, jax.random.key(0)))
    assert set(np.unique(out)) == {0.0, 1.25}
    assert abs((out == 0.0).mean() - 0.2) < 5 * 0.004


def test_running_statistics_keep_the_share_of_their_momentum():
    """``0.9 m + 0.1 mean(x)`` from mean 0 and variance 1, with the variance divided by the number of rows."""
    norm = NetBatchNorm(1, momentum=0.9, epsilon=1e-12)
    out, new = norm.apply_and_update(jnp.asarray([[2.0], [6.0]]))  # mean 4, variance 4
    np.testing.assert_allclose(out, [[-1.0], [1.0]], rtol=1e-6)
    np.testing.assert_allclose(new.mean[...], [0.4], rtol=1e-6)
    np.testing.assert_allclose(new.variance[...], [0.9 + 0.4], rtol=1e-6)
    np.testing.assert_allclose(new(jnp.asarray([[0.4]])), [[0.0]], atol=1e-6)


def test_a_shortcut_takes_means_of_blocks_and_pads_channels_on_both_sides():
    shortcut = ShapeShortcut(1, 4, stride=2, kind="pool", rngs=nnx.Rngs(0))
    x = jnp.asarray([[1.0, 2.0, 0.0, 0.0], [3.0, 8.0, 0.0, 4.0]])[..., None]
    np.testing.assert_allclose(shortcut(x), [[[0.0, 3.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]])
    one = ShapeShortcut(2, 2, stride=1, kind="project", rngs=nnx.Rngs(0))
    assert one.project is None


@pytest.mark.parametrize("stride", [1, 2])
def test_the_second_half_of_a_transition_sees_the_new_first_half(stride):
    made = RevTransition(4, 6, stride=stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 4), jnp.float32)
    y1, y2 = jnp.split(made(x), 2, axis=-1)
    x1, x2 = jnp.split(x, 2, axis=-1)
    np.testing.assert_allclose(y1, made.shortcuts[0](x1) + made.f(x2), atol=1e-5)
    np.testing.assert_allclose(y2, made.shortcuts[1](x2) + made.g(y1), atol=1e-5)
