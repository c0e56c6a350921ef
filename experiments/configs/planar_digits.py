"""Planar flow on the 8x8 digits.

Reproduces: Planar flow (Rezende and Mohamed, 2015, arXiv:1505.05770) on scikit-learn's digits.
Command: python -m experiments.train planar_digits
Expected: test NLL 94.15 nats (2.12 bits/dim), one-sample bound (uniform dequantization), selected on validation.
Cost: half a minute on 2 CPU cores.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vector_flows import PlanarConfig

CONFIG = Config(
    name="planar_digits",
    data="digits",
    model=PlanarConfig(depth=32, preprocess="histogram"),
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50, weight_decay=0.0),
    training=TrainingConfig(
        steps=4_000, batch_size=250, ema_decay=0.995, eval_every=100, patience=10
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
