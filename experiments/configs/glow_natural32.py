"""A small Glow on natural32, for a CPU.

Reproduces: Glow (Kingma and Dhariwal, 2018, arXiv:1807.03039) with 3 levels of 6 steps of width 32 on 32x32 natural
  images.
Command: python -m experiments.train glow_natural32 (with natural32 prepared, see docs/data.md; --smoke for a minute)
Expected: test 2.971 bits/dim, one-sample bound (uniform dequantization), selected on validation; 296,892 parameters.
Cost: 6,000 steps in 9.6 minutes (10.4 a second) on 2 CPU cores that did other work too, 12 with the evaluations.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import GlowConfig

CONFIG = Config(
    name="glow_natural32",
    data="natural32",
    model=GlowConfig(levels=3, depth=6, width=32, principal=True, reversible=False),
    optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=200, clip_norm=10.0),
    training=TrainingConfig(
        steps=6_000,
        batch_size=32,
        ema_decay=0.998,
        eval_every=1_000,
        patience=20,
        init_rows=8_192,
    ),
    augment=AugmentConfig(flip=True),
)
