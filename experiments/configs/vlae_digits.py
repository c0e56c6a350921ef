"""A variational lossy autoencoder on the 8x8 digits.

Reproduces: the VLAE (Chen et al., 2017, arXiv:1611.02731) on scikit-learn's digits: 8 latents, an autoregressive prior,
  and a PixelCNN of one block that sees a small window and the decoder's features.
Command: python -m experiments.train vlae_digits
Expected: test NLL 80.35 nats (1.811 bits/dim), one-sample bound (variational posterior), selected on validation.
Cost: 2 minutes on 2 CPU cores that did other work.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.vaes import VLAEConfig

CONFIG = Config(
    name="vlae_digits",
    data="digits",
    model=VLAEConfig(
        latent_dim=8,
        width=128,
        activation="silu",
        dropout=0.3,
        num_components=5,
        pixel_width=32,
        prior_width=64,
        free_bits=0.1,
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3, warmup_steps=50, weight_decay=0.1, clip_norm=10.0
    ),
    training=TrainingConfig(
        steps=2_000, batch_size=100, ema_decay=0.995, eval_every=100, patience=8
    ),
)
