"""Networks without densities of their own: conditioners, encoders, decoders."""

from dgmjax.nets.lipschitz import LipschitzConv, LipschitzMLP, lipswish
from dgmjax.nets.made import MADE
from dgmjax.nets.mlp import ACTIVATIONS, MLP, activation_fn, dropout

__all__ = [
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "LipschitzConv",
    "LipschitzMLP",
    "activation_fn",
    "dropout",
    "lipswish",
]
