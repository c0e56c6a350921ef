"""A small DCGAN on the 8x8 digits.

Reproduces: the DCGAN (Radford et al., 2016, arXiv:1511.06434) at the size of scikit-learn's digits: two resolutions,
  3x3 convolutions of blocks of 2x2 pixels, spectral norm in the discriminator (Miyato et al., 2018, arXiv:1802.05957).
Command: python -m experiments.train dcgan_digits; then python -m experiments.score runs/dcgan_digits
Expected: not yet run.
Cost: not yet run.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.gans import ImageGANConfig

CONFIG = Config(
    name="dcgan_digits",
    data="digits",
    model=ImageGANConfig(
        latent_dim=32,
        generator_widths=(64, 32),
        discriminator_widths=(32, 64),
        dropout=0.0,
        spectral_norm=True,
    ),
    optimizer=OptimizerConfig(
        learning_rate=5e-4, warmup_steps=0, clip_norm=None, b1=0.5, schedule="constant"
    ),
    training=TrainingConfig(
        steps=6_000, batch_size=64, ema_decay=0.99, eval_every=500, steps_per_call=20
    ),
)
