"""PixelCNN++ on CIFAR-10, the paper's size.

Reproduces: PixelCNN++ (Salimans et al., 2017, arXiv:1701.05517): 53.7 M parameters, the authors' optimizer but for the
  first moment (0.9 here, 0.95 there) and their slow decay of the rate.
Command: python -m experiments.train pixelcnnpp_cifar10 (with cifar10 prepared, see docs/data.md; --smoke for a minute)
Expected: published 2.92 bits/dim, exact; not yet run here.
Cost: published about 5 days on 8 GPUs; steps are those of 160 epochs.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.pixel_cnn import PixelCNNConfig

CONFIG = Config(
    name="pixelcnnpp_cifar10",
    data="cifar10",
    model=PixelCNNConfig(resolutions=3, depth=5, width=160, num_components=10, dropout=0.5),
    optimizer=OptimizerConfig(
        learning_rate=1e-3, warmup_steps=100, schedule="constant", clip_norm=None, b2=0.9995
    ),
    training=TrainingConfig(
        steps=56_300,
        batch_size=128,
        ema_decay=0.9995,
        eval_every=1_000,
        patience=50,
        init_rows=128,
    ),
    augment=AugmentConfig(flip=True),
)
