"""Pure bijector functions: arrays in, arrays out; jax only.

Elementwise functions return the elementwise log-derivative with the shape of their input; functions of a whole
vector return the log-determinant summed over it. ``forward`` is latent to data, ``inverse`` is data to latent.
"""

from dgmjax.bijectors.actnorm import actnorm_init
from dgmjax.bijectors.affine import (
    AdditiveTransformer,
    AffineTransformer,
    GatedTransformer,
    affine_forward,
    affine_inverse,
    shift_scale_forward,
    shift_scale_inverse,
)
from dgmjax.bijectors.autoregressive import (
    Degrees,
    jacobi_forward,
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
from dgmjax.bijectors.nonlinearity import (
    NONLINEARITIES,
    Nonlinearity,
    bounded_coefficient,
    nonlinearity,
)
from dgmjax.bijectors.permute import permute_forward, permute_inverse
from dgmjax.bijectors.planar import planar_constrain, planar_forward, planar_inverse
from dgmjax.bijectors.radial import radial_constrain, radial_forward, radial_inverse
from dgmjax.bijectors.reversible import reversible_scan
from dgmjax.bijectors.root import monotone_root
from dgmjax.bijectors.scales import SCALE_FNS, scale_fn
from dgmjax.bijectors.spline import SplineTransformer, spline_forward, spline_inverse
from dgmjax.bijectors.sylvester import (
    householder_columns,
    sylvester_forward,
    sylvester_inverse,
    sylvester_triangles,
)

__all__ = [
    "NONLINEARITIES",
    "PLU",
    "SCALE_FNS",
    "AdditiveTransformer",
    "AffineTransformer",
    "BatchNormParams",
    "Degrees",
    "GatedTransformer",
    "MixtureCDFTransformer",
    "Nonlinearity",
    "SplineTransformer",
    "Transformer",
    "actnorm_init",
    "affine_forward",
    "affine_inverse",
    "alternating_mask",
    "batch_norm_forward",
    "batch_norm_inverse",
    "bounded_coefficient",
    "cayley_matrix",
    "checkerboard_mask",
    "coupling_forward",
    "coupling_inverse",
    "half_mask",
    "histogram_gaussianize_forward",
    "histogram_gaussianize_inverse",
    "histogram_mass",
    "householder_columns",
    "householder_matrix",
    "linear_forward",
    "linear_inverse",
    "logit_forward",
    "logit_inverse",
    "jacobi_forward",
    "made_degrees",
    "made_masks",
    "merge",
    "mixture_cdf_forward",
    "mixture_cdf_inverse",
    "monotone_root",
    "nonlinearity",
    "orthogonal_forward",
    "orthogonal_inverse",
    "permute_forward",
    "permute_inverse",
    "planar_constrain",
    "planar_forward",
    "planar_inverse",
    "plu_factors",
    "plu_forward",
    "plu_inverse",
    "plu_matrix",
    "radial_constrain",
    "radial_forward",
    "radial_inverse",
    "reversible_scan",
    "scale_fn",
    "sequential_forward",
    "shift_scale_forward",
    "shift_scale_inverse",
    "spline_forward",
    "spline_inverse",
    "split",
    "sylvester_forward",
    "sylvester_inverse",
    "sylvester_triangles",
    "vector_mask",
]
