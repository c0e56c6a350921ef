"""Uses of trained models, and how good their inference is: latents, interpolation, outliers, gaps, calibration."""

from dgmjax.analysis.active_units import ActiveUnits, active_units
from dgmjax.analysis.annealed_importance import AnnealedImportance, annealed_importance
from dgmjax.analysis.attributes import attribute_direction, manipulate
from dgmjax.analysis.calibration import Calibration, calibration
from dgmjax.analysis.inference_gaps import InferenceGaps, inference_gaps
from dgmjax.analysis.interpolation import decode_path, interpolate, lerp, slerp
from dgmjax.analysis.latent_path import latent_path
from dgmjax.analysis.latents import decode, encode, encode_in_batches
from dgmjax.analysis.outliers import auroc, code_length, complexity_corrected, typicality
from dgmjax.analysis.sample_quality import (
    ClassBalance,
    PrecisionRecall,
    SampleScores,
    class_balance,
    frechet_distance,
    precision_recall,
    sample_scores,
)

__all__ = [
    "ActiveUnits",
    "AnnealedImportance",
    "Calibration",
    "ClassBalance",
    "InferenceGaps",
    "PrecisionRecall",
    "SampleScores",
    "active_units",
    "annealed_importance",
    "attribute_direction",
    "auroc",
    "calibration",
    "class_balance",
    "code_length",
    "complexity_corrected",
    "decode",
    "decode_path",
    "encode",
    "encode_in_batches",
    "frechet_distance",
    "inference_gaps",
    "interpolate",
    "latent_path",
    "lerp",
    "manipulate",
    "precision_recall",
    "sample_scores",
    "slerp",
    "typicality",
]
