"""What trained flows are used for: latents, interpolation, attributes, outliers."""

from dgmjax.analysis.attributes import attribute_direction, manipulate
from dgmjax.analysis.interpolation import interpolate, lerp, slerp
from dgmjax.analysis.latents import decode, encode, encode_in_batches
from dgmjax.analysis.outliers import auroc, code_length, complexity_corrected, typicality

__all__ = [
    "attribute_direction",
    "auroc",
    "code_length",
    "complexity_corrected",
    "decode",
    "encode",
    "encode_in_batches",
    "interpolate",
    "lerp",
    "manipulate",
    "slerp",
    "typicality",
]
