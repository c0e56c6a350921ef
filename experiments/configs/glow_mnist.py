"""A small Glow on MNIST, for a CPU.

Reproduces: Glow (Kingma and Dhariwal, 2018, arXiv:1807.03039) with 2 levels of 6 steps on MNIST, 8 bits.
Command: python -m experiments.train glow_mnist (with MNIST prepared, see docs/data.md)
Expected: test 1.280 bits/dim after 1,500 steps, one-sample bound (uniform dequantization); the end is not measured.
Cost: about ten minutes on 2 CPU cores.
"""

from experiments.config import Config, OptimizerConfig, TrainingConfig
from experiments.models import GlowConfig

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
