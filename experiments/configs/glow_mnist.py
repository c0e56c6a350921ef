"""A small Glow on MNIST, for a CPU.

Reproduces: Glow (Kingma and Dhariwal, 2018, arXiv:1807.03039) with 2 levels of 10 steps of width 32 on MNIST, 8 bits.
Command: python -m experiments.train glow_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: test 1.136 bits/dim, one-sample bound (uniform dequantization), selected on validation; 84,228 parameters.
Cost: 10,000 steps in 10.8 minutes (15.5 a second) on 2 CPU cores that did other work too, 14 with the evaluations;
  validation passes 1.15 at step 8,000.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import GlowConfig

CONFIG = Config(
    name="glow_mnist",
    data="mnist",
    model=GlowConfig(
        levels=2,
        depth=10,
        width=32,
        preprocess="shared_histogram",
        principal=True,
        reversible=False,
    ),
    optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=200, clip_norm=10.0),
    training=TrainingConfig(
        steps=10_000,
        batch_size=32,
        ema_decay=0.998,
        eval_every=1_000,
        patience=20,
        init_rows=8_192,
    ),
)
