"""A DCGAN on MNIST.

Reproduces: the DCGAN (Radford et al., 2016, arXiv:1511.06434) on 28x28 images: three resolutions from 7x7, the latents
  and Adam of the paper; 3x3 convolutions of blocks of 2x2 pixels for its 5x5 ones of stride 2, spectral norm in the
  discriminator (Miyato et al., 2018, arXiv:1802.05957) instead of batch norm.
Command: python -m experiments.train dcgan_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: not yet run.
Cost: not yet run.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.gans import ImageGANConfig

CONFIG = Config(
    name="dcgan_mnist",
    data="mnist",
    model=ImageGANConfig(
        latent_dim=100,
        generator_widths=(256, 128, 64),
        discriminator_widths=(64, 128, 256),
        dropout=0.0,
        spectral_norm=True,
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-4, warmup_steps=0, clip_norm=None, b1=0.5, schedule="constant"
    ),
    training=TrainingConfig(steps=20_000, batch_size=128, ema_decay=0.999, eval_every=500),
)
