"""An i-RevNet on the 8x8 digits, whose final features are the image.

Reproduces: the i-RevNet (Jacobsen et al., 2018, arXiv:1802.07088), injective, with the blocks of the authors' network
  for CIFAR, fewer and smaller; the settings of revnet_digits.
Command: python -m experiments.train irevnet_digits
Expected: test 1.79 +- 0.63 % wrong (accuracy 98.21 %, 8 of 447 images), selected on validation; images come back from
  the final features to 9e-7 of the range of a pixel.
Cost: 4 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.classifiers import IRevNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="irevnet_digits",
    data="digits",
    model=IRevNetConfig(blocks=(4, 4), strides=(1, 2), pad_to=32, dropout=0.1),
    optimizer=OptimizerConfig(
        algorithm="sgd", learning_rate=0.1, warmup_steps=50, weight_decay=5e-4, clip_norm=None
    ),
    training=TrainingConfig(
        steps=1_200, batch_size=100, ema_decay=0.0, eval_every=100, patience=12
    ),
    augment=AugmentConfig(warp=0.25, shift=0.25),
)
