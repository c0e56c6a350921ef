"""The ResNet twin of revnet_mnist, for a CPU.

Reproduces: the pre-activation ResNet (He et al., 2016, arXiv:1603.05027), 34 layers as ResNet-32, in 2 stages of 8
  units at half its width, with the settings of revnet_mnist. The default classifier of sample scores on MNIST.
Command: python -m experiments.train resnet_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: test 0.65 +- 0.08 % wrong (accuracy 99.35 %); selected on validation.
Cost: 15 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.classifiers import PreActResNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="resnet_mnist",
    data="mnist",
    model=PreActResNetConfig(filters=(8, 8, 16), units=(8, 8), stem_stride=2),
    optimizer=OptimizerConfig(
        algorithm="sgd", learning_rate=0.1, warmup_steps=50, weight_decay=5e-4, clip_norm=None
    ),
    training=TrainingConfig(steps=3_000, batch_size=64, ema_decay=0.0, eval_every=300, patience=10),
    augment=AugmentConfig(warp=0.25, shift=0.25),
)
