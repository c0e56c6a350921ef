"""What trained models are used for, and how good their inference is: latents, interpolation, outliers, gaps."""

from dgmjax.analysis.active_units import ActiveUnits, active_units
from dgmjax.analysis.annealed_importance import AnnealedImportance, annealed_importance
from dgmjax.analysis.attributes import attribute_direction, manipulate
from dgmjax.analysis.inference_gaps import InferenceGaps, inference_gaps
from dgmjax.analysis.interpolation import interpolate, lerp, slerp
from dgmjax.analysis.latents import decode, encode, encode_in_batches
from dgmjax.analysis.outliers import auroc, code_length, complexity_corrected, typicality

__all__ = [
    "ActiveUnits",
    "AnnealedImportance",
    "InferenceGaps",
    "active_units",
    "annealed_importance",
    "attribute_direction",
    "auroc",
    "code_length",
    "complexity_corrected",
    "decode",
    "encode",
    "encode_in_batches",
    "inference_gaps",
    "interpolate",
    "lerp",
    "manipulate",
    "slerp",
    "typicality",
]
