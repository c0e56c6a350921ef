"""Networks without densities of their own: conditioners, encoders, decoders."""

from dgmjax.nets.conv import ZeroConv
from dgmjax.nets.conv_net import ConvNet
from dgmjax.nets.lipschitz import LipschitzConv, LipschitzMLP, lipswish
from dgmjax.nets.made import MADE
from dgmjax.nets.mlp import ACTIVATIONS, MLP, activation_fn, dropout
from dgmjax.nets.res_net import ResNet

__all__ = [
    "ConvNet",
    "ZeroConv",
    "ResNet",
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "LipschitzConv",
    "LipschitzMLP",
    "activation_fn",
    "dropout",
    "lipswish",
]
