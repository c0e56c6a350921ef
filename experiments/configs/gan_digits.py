"""A GAN of dense layers on the 8x8 digits.

Reproduces: the GAN (Goodfellow et al., 2014, arXiv:1406.2661) of the lectures (row A4-21), small, on scikit-learn's
  digits; non-saturating loss, batch norm in the generator, dropout in the discriminator and a price on its gradient
  (R1, Mescheder et al., 2018, arXiv:1801.04406).
Command: python -m experiments.train gan_digits; then python -m experiments.score runs/gan_digits
Expected: of 10,000 samples resnet_digits accepts 92.8 % (of the test images 97.8 %), classes 0.82 to 1.21 of uniform,
  Frechet distance 0.45 (training images 0.33), precision 0.73, recall 0.72; the last weights, nothing is selected.
Cost: 7 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.gans import GANConfig

CONFIG = Config(
    name="gan_digits",
    data="digits",
    model=GANConfig(
        latent_dim=32,
        generator_widths=(128, 256, 512),
        discriminator_widths=(512, 256),
        dropout=0.3,
        r1=0.05,
    ),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=0, clip_norm=None, b1=0.5),
    training=TrainingConfig(
        steps=14_000, batch_size=100, ema_decay=0.995, eval_every=700, steps_per_call=20
    ),
)
