"""RealNVP on CIFAR-10, the paper's size.

Reproduces: RealNVP (Dinh et al., 2017, arXiv:1605.08803), 2 scales, residual networks of 8 blocks and width 64, 6.4 M
  parameters; activation normalization in place of batch normalization.
Command: python -m experiments.train realnvp_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published 3.49 bits/dim (uniform dequantization); not yet run here.
Cost: a port of the authors' code takes 4 minutes an epoch (704 steps of 64) on a Titan Xp, 3.70 after 20.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import ImageRealNVPConfig

CONFIG = Config(
    name="realnvp_cifar10",
    data="cifar10",
    model=ImageRealNVPConfig(
        levels=2,
        depth=3,
        hidden_layers=8,
        width=64,
        widen=False,
        normalization="actnorm",
        reversible=True,
        preprocess="logit",
        alpha=0.05,
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-3, warmup_steps=500, weight_decay=5e-5, clip_norm=100.0
    ),
    training=TrainingConfig(
        steps=70_300,
        batch_size=64,
        ema_decay=0.999,
        eval_every=703,
        patience=50,
        init_rows=512,
    ),
    augment=AugmentConfig(flip=True),
)
