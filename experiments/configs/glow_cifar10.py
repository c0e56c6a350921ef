"""Glow on CIFAR-10, the paper's size.

Reproduces: Glow (Kingma and Dhariwal, 2018, arXiv:1807.03039), 3 levels of 32 steps, width 512, affine; the optimizer,
  batches and augmentation of the authors' code. Its data are scaled to [-0.5, 0.5] where these are standardised.
Command: python -m experiments.train glow_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published 3.35 bits/dim (uniform dequantization); not yet run here.
Cost: published 6.8 days on 8 GPUs for 1,800 epochs, which is what steps says.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import GlowConfig

CONFIG = Config(
    name="glow_cifar10",
    data="cifar10",
    model=GlowConfig(levels=3, depth=32, width=512),
    optimizer=OptimizerConfig(
        algorithm="adamax",
        learning_rate=1e-3,
        warmup_steps=880,  # 10 epochs
        schedule="constant",
        clip_norm=100.0,
        b2=0.9898,
    ),
    training=TrainingConfig(
        steps=158_400,
        batch_size=512,
        ema_decay=0.999,
        eval_every=880,
        patience=180,
        init_rows=512,
    ),
    augment=AugmentConfig(max_shift=3),
)
