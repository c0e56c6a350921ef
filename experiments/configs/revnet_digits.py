"""A small RevNet on the 8x8 digits.

Reproduces: the RevNet (Gomez et al., 2017, arXiv:1707.04585), 3 stages of 3 units as RevNet-38 at about half its width,
  as a classifier of scikit-learn's digits; SGD with momentum and a cosine schedule.
Command: python -m experiments.train revnet_digits
Expected: test 1.79 +- 0.63 % wrong (accuracy 98.21 %, 8 of 447 images), selected on validation.
Cost: 4 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.classifiers import RevNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="revnet_digits",
    data="digits",
    model=RevNetConfig(filters=(16, 16, 32, 56), units=(3, 3, 3)),
    optimizer=OptimizerConfig(
        algorithm="sgd", learning_rate=0.1, warmup_steps=50, weight_decay=5e-4, clip_norm=None
    ),
    training=TrainingConfig(
        steps=1_200, batch_size=100, ema_decay=0.0, eval_every=100, patience=12
    ),
    augment=AugmentConfig(warp=0.25, shift=0.25),
)
