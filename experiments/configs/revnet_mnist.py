"""A small RevNet on MNIST, for a CPU.

Reproduces: the RevNet (Gomez et al., 2017, arXiv:1707.04585), 34 layers as RevNet-38, but a first convolution of stride
  2, 2 stages of 4 units and half its width; SGD with momentum and a cosine schedule, small warps and shifts.
Command: python -m experiments.train revnet_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: test 0.65 +- 0.08 % wrong (accuracy 99.35 %), as its twin resnet_mnist; selected on validation.
Cost: 11 minutes on 2 CPU cores that did much other work, of which 1 is compiling.
"""

from experiments.settings.classifiers import RevNetConfig
from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig

CONFIG = Config(
    name="revnet_mnist",
    data="mnist",
    model=RevNetConfig(filters=(16, 16, 32), units=(4, 4), stem_stride=2),
    optimizer=OptimizerConfig(
        algorithm="sgd", learning_rate=0.1, warmup_steps=50, weight_decay=5e-4, clip_norm=None
    ),
    training=TrainingConfig(steps=3_000, batch_size=64, ema_decay=0.0, eval_every=300, patience=10),
    augment=AugmentConfig(warp=0.25, shift=0.25),
)
