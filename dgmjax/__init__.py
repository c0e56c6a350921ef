"""Deep generative models in JAX: pure functions below, Flax modules above.

``import dgmjax as dgm``; see the README for the first ten lines and ``docs/architecture.md`` for the house.
"""

from dgmjax import (
    bijectors,
    data,
    densities,
    layers,
    models,
    nets,
    objectives,
    plots,
    testing,
    training,
)
from dgmjax.layers import (
    Bijector,
    Chain,
    Coupling,
    Dequantized,
    Flow,
    HistogramGaussianize,
    Inverse,
    Logit,
    MaskedAutoregressive,
    Standardize,
    UniformDequantization,
    recorded,
)
from dgmjax.models import IAF, MAF, NICE, NeuralSplineFlow, RealNVP
from dgmjax.objectives import Likelihood, log_likelihood
from dgmjax.training import FitResult, fit, fit_density, load, save

__version__ = "0.1.0"

__all__ = [
    "IAF",
    "MAF",
    "NICE",
    "Bijector",
    "Chain",
    "Coupling",
    "Dequantized",
    "FitResult",
    "Flow",
    "HistogramGaussianize",
    "Inverse",
    "Likelihood",
    "Logit",
    "MaskedAutoregressive",
    "NeuralSplineFlow",
    "RealNVP",
    "Standardize",
    "UniformDequantization",
    "bijectors",
    "data",
    "densities",
    "fit",
    "fit_density",
    "layers",
    "load",
    "log_likelihood",
    "models",
    "nets",
    "objectives",
    "plots",
    "recorded",
    "save",
    "testing",
    "training",
]
