"""The GAN of the UvA assignment on MNIST.

Reproduces: row A4-21 of the lectures: 100-128-256-512-1024-784 with batch norm as in the code behind the report
  (errata E-A4-17), 784-512-256-1 with dropout 0.3 as in the report, leaky ReLU 0.2; Adam at 2e-4, batches of 64, 200
  epochs, the code's (the report says 5e-4); the generator first, other latents for each
  part. Here with averaged weights.
Command: python -m experiments.train gan_mlp_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: not yet run.
Cost: not yet run.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.gans import GANConfig

CONFIG = Config(
    name="gan_mlp_mnist",
    data="mnist",
    model=GANConfig(
        generator_widths=(128, 256, 512, 1_024), discriminator_widths=(512, 256), dropout=0.3
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-4, warmup_steps=0, clip_norm=None, schedule="constant"
    ),
    training=TrainingConfig(
        steps=187_600, batch_size=64, ema_decay=0.999, eval_every=938, steps_per_call=14
    ),
)
