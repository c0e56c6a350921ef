"""Layers of networks that no model of the table has twice drop units with keys of their own."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.nets.gan.dcgan import ConvDiscriminator
from dgmjax.nets.gan.mlp import MLPDiscriminator
from dgmjax.nets.gated_attention import GatedAttentionNet
from tests.dropout_keys import dropout_keys

NETS = {  # with the number of places where each drops units
    "attention": (
        lambda: GatedAttentionNet(
            (4, 2, 3), 2, width=4, depth=2, num_heads=1, dropout=0.3, rngs=nnx.Rngs(0)
        ),
        4,
    ),
    "discriminator": (
        lambda: MLPDiscriminator((6,), widths=(4, 3), dropout=0.3, rngs=nnx.Rngs(0)),
        2,
    ),
    "discriminator of images": (
        lambda: ConvDiscriminator((4, 8, 1), widths=(4, 3), dropout=0.3, rngs=nnx.Rngs(0)),
        2,
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_layers_drop_units_with_keys_of_their_own(name, monkeypatch):
    make, places = NETS[name]
    net = make()
    x, key = jnp.ones((2, *net.in_shape), jnp.float32), jax.random.key(0)
    seen = dropout_keys(monkeypatch, lambda x: net(x, key=key), x)
    assert len(set(seen)) == len(seen) == places
    assert {p for _, p in seen} == {0.7}  # kept; 0.3 are dropped


def test_blocks_of_an_irevnet_drop_units_with_keys_of_their_own(monkeypatch):
    options = {"blocks": (2, 1), "strides": (1, 2), "kind": "basic", "dropout": 0.3}
    model, key = dgm.IRevNet((4, 8, 2), 3, **options, rngs=nnx.Rngs(0)), jax.random.key(0)
    x = jnp.ones((2, 4, 8, 2), jnp.float32)
    seen = dropout_keys(monkeypatch, lambda x: model.logits_and_update(x, key=key)[0], x)
    assert len(set(seen)) == len(seen) == 3
    assert {p for _, p in seen} == {0.7}
