"""Networks without densities of their own: conditioners, encoders, decoders."""

from dgmjax.nets.mlp import ACTIVATIONS, MLP, activation_fn, dropout

__all__ = ["ACTIVATIONS", "MLP", "activation_fn", "dropout"]
