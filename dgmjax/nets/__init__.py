"""Networks without densities of their own: conditioners, encoders, decoders."""

from dgmjax.nets.made import MADE
from dgmjax.nets.mlp import ACTIVATIONS, MLP, activation_fn, dropout

__all__ = ["ACTIVATIONS", "MADE", "MLP", "activation_fn", "dropout"]
