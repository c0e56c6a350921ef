"""Pure bijector functions: arrays in, arrays out; jax only.

Elementwise functions return the elementwise log-derivative with the shape of their input; functions of a whole
vector return the log-determinant summed over it. ``forward`` is latent to data, ``inverse`` is data to latent.
"""

from dgmjax.bijectors.actnorm import actnorm_init
from dgmjax.bijectors.affine import (
    AdditiveTransformer,
    AffineTransformer,
    affine_forward,
    affine_inverse,
)
from dgmjax.bijectors.autoregressive import (
    Degrees,
    made_degrees,
    made_masks,
    sequential_forward,
)
from dgmjax.bijectors.batchnorm import (
    BatchNormParams,
    batch_norm_forward,
    batch_norm_inverse,
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
from dgmjax.bijectors.linear import (
    PLU,
    cayley_matrix,
    householder_matrix,
    linear_forward,
    linear_inverse,
    orthogonal_forward,
    orthogonal_inverse,
    plu_factors,
    plu_forward,
    plu_inverse,
    plu_matrix,
)
from dgmjax.bijectors.logit import logit_forward, logit_inverse
from dgmjax.bijectors.masks import alternating_mask, checkerboard_mask, half_mask, vector_mask
from dgmjax.bijectors.mixture_cdf import (
    MixtureCDFTransformer,
    mixture_cdf_forward,
    mixture_cdf_inverse,
)
from dgmjax.bijectors.permute import permute_forward, permute_inverse
from dgmjax.bijectors.scales import SCALE_FNS, scale_fn
from dgmjax.bijectors.spline import SplineTransformer, spline_forward, spline_inverse

__all__ = [
    "BatchNormParams",
    "MixtureCDFTransformer",
    "PLU",
    "SplineTransformer",
    "actnorm_init",
    "batch_norm_forward",
    "batch_norm_inverse",
    "cayley_matrix",
    "householder_matrix",
    "linear_forward",
    "linear_inverse",
    "mixture_cdf_forward",
    "mixture_cdf_inverse",
    "orthogonal_forward",
    "orthogonal_inverse",
    "permute_forward",
    "permute_inverse",
    "plu_factors",
    "plu_forward",
    "plu_inverse",
    "plu_matrix",
    "spline_forward",
    "spline_inverse",
    "SCALE_FNS",
    "AdditiveTransformer",
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
