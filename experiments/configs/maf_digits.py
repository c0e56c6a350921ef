"""MAF on the 8x8 digits.

Reproduces: MAF (Papamakarios et al., 2017, arXiv:1705.07057) on scikit-learn's digits.
Command: python -m experiments.train maf_digits
Expected: test NLL 88.64 nats (2.00 bits/dim), one-sample bound (uniform dequantization), selected on validation.
Cost: 2 to 3 minutes on 2 CPU cores.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vector_flows import MAFConfig

CONFIG = Config(
    name="maf_digits",
    data="digits",
    model=MAFConfig(depth=6, width=256, activation="silu", dropout=0.4, preprocess="histogram"),
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=50, weight_decay=1.0),
    training=TrainingConfig(
        steps=4_000, batch_size=250, ema_decay=0.995, eval_every=100, patience=10
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
