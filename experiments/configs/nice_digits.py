"""NICE on the 8x8 digits.

Reproduces: NICE (Dinh et al., 2015, arXiv:1410.8516) with MLP conditioners on scikit-learn's digits.
Command: python -m experiments.train nice_digits
Expected: test NLL 88.57 nats (2.00 bits/dim), one-sample bound (uniform dequantization), selected on validation.
Cost: 1.5 minutes on 2 CPU cores.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vector_flows import NICEConfig

CONFIG = Config(
    name="nice_digits",
    data="digits",
    model=NICEConfig(
        depth=8,
        width=128,
        mask="checkerboard",
        activation="silu",
        dropout=0.4,
        preprocess="histogram",
    ),
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=50, weight_decay=1.0),
    training=TrainingConfig(
        steps=4_000, batch_size=250, ema_decay=0.995, eval_every=100, patience=10
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
