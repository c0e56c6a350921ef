"""The ResNet twin of revnet_digits.

Reproduces: the pre-activation ResNet (He et al., 2016, arXiv:1603.05027) that a RevNet is compared with, 3 stages of 5
  units as ResNet-32 at half its width, with the settings of revnet_digits. The default classifier of sample scores.
Command: python -m experiments.train resnet_digits
Expected: test 1.34 +- 0.54 % wrong (accuracy 98.66 %, 6 of 447 images), selected on validation.
Cost: 2 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.classifiers import PreActResNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="resnet_digits",
    data="digits",
    model=PreActResNetConfig(filters=(8, 8, 16, 32), units=(5, 5, 5)),
    optimizer=OptimizerConfig(
        algorithm="sgd", learning_rate=0.1, warmup_steps=50, weight_decay=5e-4, clip_norm=None
    ),
    training=TrainingConfig(
        steps=1_200, batch_size=100, ema_decay=0.0, eval_every=100, patience=12
    ),
    augment=AugmentConfig(warp=0.25, shift=0.25),
)
