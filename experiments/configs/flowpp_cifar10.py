"""Flow++ on CIFAR-10, the paper's size.

Reproduces: Flow++ (Ho et al., 2019, arXiv:1902.00275): 31.4 M parameters with those of the variational dequantization;
  the optimizer and batches of the authors' code.
Command: python -m experiments.train flowpp_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published 3.08 bits/dim (variational dequantization, importance-weighted); not yet run here.
Cost: published 400 epochs and more on 8 GPUs; steps are those of 400 epochs.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.image_flows import FlowPPConfig

CONFIG = Config(
    name="flowpp_cifar10",
    data="cifar10",
    model=FlowPPConfig(
        couplings=(4, 2, 3),
        width=96,
        depth=10,
        num_components=32,
        dropout=0.2,
        preprocess="logit",
        alpha=0.05,
    ),
    dequantization=DequantizationConfig(kind="variational", dropout=0.2),
    optimizer=OptimizerConfig(
        learning_rate=3e-4, warmup_steps=2_000, schedule="constant", clip_norm=1.0
    ),
    training=TrainingConfig(
        steps=281_200,
        batch_size=64,
        ema_decay=0.999,
        eval_every=703,
        patience=50,
        init_rows=128,
    ),
    augment=AugmentConfig(flip=True),
)
