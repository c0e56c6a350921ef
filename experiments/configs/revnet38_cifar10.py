"""RevNet-38 on CIFAR-10.

Reproduces: table 1 of Gomez et al., 2017, arXiv:1707.04585: RevNet-38, 3 stages of 3 reversible units, 0.46 million
  parameters; SGD with momentum 0.9, rate 0.1 divided by 10 after 40,000 and 60,000 of 80,000 steps, batches of 100,
  weight decay 2e-4 on kernels, flips and shifts by up to 4 pixels (which here repeat the edge instead of padding with
  zeros).
Command: python -m experiments.train revnet38_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published 7.24 % test error; not yet run here. The published runs use all 50,000 training images.
Cost: not measured; made for an accelerator.
"""

from experiments.settings.classifiers import RevNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="revnet38_cifar10",
    data="cifar10",
    model=RevNetConfig(filters=(32, 32, 64, 112), units=(3, 3, 3), momentum=0.99, epsilon=1e-3),
    optimizer=OptimizerConfig(
        algorithm="sgd",
        learning_rate=0.1,
        warmup_steps=0,
        weight_decay=2e-4,
        clip_norm=None,
        schedule="piecewise",
        milestones=(40_000, 60_000),
    ),
    training=TrainingConfig(
        steps=80_000, batch_size=100, ema_decay=0.0, eval_every=1_000, patience=80
    ),
    augment=AugmentConfig(flip=True, max_shift=4),
)
