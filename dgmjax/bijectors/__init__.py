"""Pure bijector functions: arrays in, arrays out; jax only.

Elementwise functions return the elementwise log-derivative with the shape of their input; functions of a whole
vector return the log-determinant summed over it. ``forward`` is latent to data, ``inverse`` is data to latent.
"""

from dgmjax.bijectors.actnorm import actnorm_init
from dgmjax.bijectors.additive_halves import halves_forward, halves_inverse
from dgmjax.bijectors.affine import (
    AdditiveTransformer,
    AffineTransformer,
    GatedTransformer,
    affine_forward,
    affine_inverse,
    shift_scale_forward,
    shift_scale_inverse,
)
from dgmjax.bijectors.autoregressive import jacobi_forward, sequential_forward
from dgmjax.bijectors.batchnorm import (
    BatchNormParams,
    batch_norm_forward,
    batch_norm_inverse,
)
from dgmjax.bijectors.checkerboard import checkerboard_halves, checkerboard_image, halves_shape
from dgmjax.bijectors.circular import CircularSplineTransformer, RotationTransformer
from dgmjax.bijectors.coupling import (
    coupling_forward,
    coupling_inverse,
    merge,
    split_by_mask,
)
from dgmjax.bijectors.coupling_masks import (
    alternating_mask,
    checkerboard_mask,
    half_mask,
    image_mask,
    vector_mask,
)
from dgmjax.bijectors.elementwise import (
    LeakyReLUTransformer,
    SigmoidTransformer,
    SoftplusTransformer,
    TanhTransformer,
    leaky_relu_forward,
    leaky_relu_inverse,
    softplus_forward,
    softplus_inverse,
    tanh_forward,
    tanh_inverse,
)
from dgmjax.bijectors.histogram import (
    histogram_gaussianize_forward,
    histogram_gaussianize_inverse,
    histogram_mass,
)
from dgmjax.bijectors.image_coupling import pixel_coupling_forward, pixel_coupling_inverse
from dgmjax.bijectors.inverse_cdf import Family, inverse_cdf_forward, inverse_cdf_inverse, quantile
from dgmjax.bijectors.invertible_conv import (
    conv1x1,
    conv1x1_log_det,
    plu_inverse_matrix,
    principal_axes,
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
    plu_triangles,
)
from dgmjax.bijectors.logit import logit_forward, logit_inverse
from dgmjax.bijectors.made_masks import Degrees, made_degrees, made_masks
from dgmjax.bijectors.mixed import MixedTransformer
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
from dgmjax.bijectors.residual import (
    exact_log_det,
    rademacher_probes,
    russian_roulette_log_det,
    truncated_log_det,
)
from dgmjax.bijectors.rosenblatt import (
    NORMAL_MIXTURES,
    gaussian_mixture_conditional,
    rosenblatt_forward,
    rosenblatt_inverse,
)
from dgmjax.bijectors.scales import SCALE_FNS, scale_fn
from dgmjax.bijectors.spline import SplineTransformer, spline_forward, spline_inverse
from dgmjax.bijectors.squeeze import SQUEEZE_ORDERS, squeeze, squeezed_shape, unsqueeze
from dgmjax.bijectors.sylvester import (
    householder_columns,
    sylvester_forward,
    sylvester_inverse,
    sylvester_triangles,
)
from dgmjax.bijectors.transformer import (
    ComposedTransformer,
    Transformer,
    check_transformer,
    choose_transformer,
    no_params,
)

__all__ = [
    "AdditiveTransformer",
    "AffineTransformer",
    "BatchNormParams",
    "CircularSplineTransformer",
    "ComposedTransformer",
    "Degrees",
    "Family",
    "GatedTransformer",
    "LeakyReLUTransformer",
    "MixedTransformer",
    "MixtureCDFTransformer",
    "RotationTransformer",
    "NONLINEARITIES",
    "NORMAL_MIXTURES",
    "Nonlinearity",
    "PLU",
    "SCALE_FNS",
    "SQUEEZE_ORDERS",
    "SigmoidTransformer",
    "SoftplusTransformer",
    "SplineTransformer",
    "TanhTransformer",
    "Transformer",
    "actnorm_init",
    "affine_forward",
    "affine_inverse",
    "alternating_mask",
    "batch_norm_forward",
    "batch_norm_inverse",
    "bounded_coefficient",
    "cayley_matrix",
    "check_transformer",
    "choose_transformer",
    "checkerboard_halves",
    "checkerboard_image",
    "checkerboard_mask",
    "conv1x1",
    "conv1x1_log_det",
    "coupling_forward",
    "coupling_inverse",
    "exact_log_det",
    "gaussian_mixture_conditional",
    "half_mask",
    "halves_forward",
    "halves_inverse",
    "halves_shape",
    "histogram_gaussianize_forward",
    "histogram_gaussianize_inverse",
    "histogram_mass",
    "householder_columns",
    "householder_matrix",
    "image_mask",
    "inverse_cdf_forward",
    "inverse_cdf_inverse",
    "jacobi_forward",
    "leaky_relu_forward",
    "leaky_relu_inverse",
    "linear_forward",
    "linear_inverse",
    "logit_forward",
    "logit_inverse",
    "made_degrees",
    "made_masks",
    "merge",
    "mixture_cdf_forward",
    "mixture_cdf_inverse",
    "nonlinearity",
    "orthogonal_forward",
    "orthogonal_inverse",
    "no_params",
    "permute_forward",
    "permute_inverse",
    "pixel_coupling_forward",
    "pixel_coupling_inverse",
    "planar_constrain",
    "planar_forward",
    "planar_inverse",
    "plu_factors",
    "plu_forward",
    "plu_inverse",
    "plu_inverse_matrix",
    "plu_matrix",
    "plu_triangles",
    "principal_axes",
    "quantile",
    "rademacher_probes",
    "radial_constrain",
    "radial_forward",
    "radial_inverse",
    "rosenblatt_forward",
    "rosenblatt_inverse",
    "russian_roulette_log_det",
    "scale_fn",
    "sequential_forward",
    "shift_scale_forward",
    "shift_scale_inverse",
    "softplus_forward",
    "softplus_inverse",
    "spline_forward",
    "spline_inverse",
    "split_by_mask",
    "squeeze",
    "squeezed_shape",
    "sylvester_forward",
    "sylvester_inverse",
    "sylvester_triangles",
    "tanh_forward",
    "tanh_inverse",
    "truncated_log_det",
    "unsqueeze",
    "vector_mask",
]
