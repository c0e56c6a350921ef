"""IAF on the 8x8 digits.

Reproduces: IAF (Kingma et al., 2016, arXiv:1606.04934), here trained by maximum likelihood, its slow direction.
Command: python -m experiments.train iaf_digits
Expected: test NLL 91.78 nats (2.07 bits/dim), one-sample bound (uniform dequantization), selected on validation.
Cost: 2 to 3 minutes on 2 CPU cores.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vector_flows import IAFConfig

CONFIG = Config(
    name="iaf_digits",
    data="digits",
    model=IAFConfig(depth=4, width=128, activation="silu", preprocess="histogram"),
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=50, weight_decay=1.0),
    training=TrainingConfig(
        steps=4_000, batch_size=250, ema_decay=0.995, eval_every=100, patience=10
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
