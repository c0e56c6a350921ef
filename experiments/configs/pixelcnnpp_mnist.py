"""PixelCNN++ on MNIST, for an accelerator.

Reproduces: PixelCNN++ (Salimans et al., 2017, arXiv:1701.05517) on MNIST, 8 bits, narrower than the paper's for
  CIFAR-10.
Command: python -m experiments.train pixelcnnpp_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: not yet run here.
Cost: meant for half an hour on an accelerator; not yet run.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.pixel_cnn import PixelCNNConfig

CONFIG = Config(
    name="pixelcnnpp_mnist",
    data="mnist",
    model=PixelCNNConfig(resolutions=3, depth=3, width=64, num_components=10, dropout=0.3),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=500, clip_norm=1.0),
    training=TrainingConfig(
        steps=20_000,
        batch_size=64,
        ema_decay=0.9995,
        eval_every=1_000,
        patience=20,
        init_rows=256,
    ),
)
