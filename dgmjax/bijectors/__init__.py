"""Pure bijector functions: arrays in, arrays out; jax only.

Elementwise functions return the elementwise log-derivative with the shape of their input; functions of a whole
vector return the log-determinant summed over it. ``forward`` is latent to data, ``inverse`` is data to latent.
"""

from dgmjax.bijectors.affine import AffineTransformer, affine_forward, affine_inverse
from dgmjax.bijectors.autoregressive import (
    Degrees,
    made_degrees,
    made_masks,
    sequential_forward,
)
from dgmjax.bijectors.coupling import (
    Transformer,
    coupling_forward,
    coupling_inverse,
    merge,
    split,
)
from dgmjax.bijectors.histogram import (
    histogram_gaussianize_forward,
    histogram_gaussianize_inverse,
    histogram_mass,
)
from dgmjax.bijectors.logit import logit_forward, logit_inverse
from dgmjax.bijectors.masks import alternating_mask, checkerboard_mask, half_mask, vector_mask
from dgmjax.bijectors.scales import SCALE_FNS, scale_fn

__all__ = [
    "SCALE_FNS",
    "AffineTransformer",
    "Degrees",
    "Transformer",
    "affine_forward",
    "affine_inverse",
    "alternating_mask",
    "checkerboard_mask",
    "coupling_forward",
    "coupling_inverse",
    "half_mask",
    "histogram_gaussianize_forward",
    "histogram_gaussianize_inverse",
    "histogram_mass",
    "logit_forward",
    "logit_inverse",
    "made_degrees",
    "made_masks",
    "merge",
    "scale_fn",
    "sequential_forward",
    "split",
    "vector_mask",
]
