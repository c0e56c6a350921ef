"""A gated PixelCNN with a mixture of discretized logistics on the 8x8 digits.

Reproduces: PixelCNN++ (Salimans et al., 2017, arXiv:1701.05517) on scikit-learn's digits, with the network of the Gated
  PixelCNN (van den Oord et al., 2016, arXiv:1606.05328), which is better on images so small.
Command: python -m experiments.train pixelcnnpp_digits
Expected: test NLL 78.34 nats (1.77 bits/dim), exact, selected on validation.
Cost: 5 minutes on 2 CPU cores that did other work too.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.pixel_cnn import PixelCNNConfig

CONFIG = Config(
    name="pixelcnnpp_digits",
    data="digits",
    model=PixelCNNConfig(variant="gated", depth=3, width=48, num_components=5, dropout=0.5),
    optimizer=OptimizerConfig(learning_rate=4e-3, warmup_steps=50, clip_norm=1.0),
    training=TrainingConfig(
        steps=1_600, batch_size=100, ema_decay=0.99, eval_every=100, patience=5
    ),
)
