"""Residual flow on the 8x8 digits.

Reproduces: Residual flow (Chen et al., 2019, arXiv:1906.02735) on scikit-learn's digits, unbiased log-determinants.
Command: python -m experiments.train residual_digits
Expected: test NLL 88.20 nats (1.99 bits/dim), one-sample bound (uniform dequantization), selected on validation.
Cost: about 5 minutes on 2 CPU cores.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vector_flows import ResidualConfig

CONFIG = Config(
    name="residual_digits",
    data="digits",
    model=ResidualConfig(depth=8, width=128, preprocess="histogram", log_det="unbiased"),
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=50, weight_decay=1.0),
    training=TrainingConfig(
        steps=4_000, batch_size=250, ema_decay=0.995, eval_every=100, patience=10
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
