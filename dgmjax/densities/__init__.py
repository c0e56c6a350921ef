"""Pure log-densities and samplers that distrax lacks, and the labels of likelihoods; jax only."""

from dgmjax.densities.bound import EXACT, Bound, bits_per_dim

__all__ = ["EXACT", "Bound", "bits_per_dim"]
