"""A VAE with an MLP encoder and decoder on the 8x8 digits.

Reproduces: the VAE (Kingma and Welling, 2014, arXiv:1312.6114) with 16 latents on scikit-learn's digits; pixels are
  mixtures of discretized logistics (Salimans et al., 2017, arXiv:1701.05517).
Command: python -m experiments.train vae_digits
Expected: test NLL 89.06 nats (2.008 bits/dim), one-sample bound (variational posterior), selected on validation.
Cost: 2 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vaes import VAEConfig

CONFIG = Config(
    name="vae_digits",
    data="digits",
    model=VAEConfig(
        latent_dim=16,
        likelihood="discretized_logistic_mixture",
        width=256,
        depth=2,
        activation="silu",
        dropout=0.2,
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3, warmup_steps=50, weight_decay=0.1, clip_norm=10.0
    ),
    training=TrainingConfig(
        steps=2_500, batch_size=100, ema_decay=0.995, eval_every=100, patience=8
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
