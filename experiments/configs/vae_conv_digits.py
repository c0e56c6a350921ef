"""A VAE with convolutional residual networks on the 8x8 digits.

Reproduces: the VAE (Kingma and Welling, 2014, arXiv:1312.6114) with 16 latents on scikit-learn's digits; pixels are
  mixtures of discretized logistics (Salimans et al., 2017, arXiv:1701.05517).
Command: python -m experiments.train vae_conv_digits
Expected: test NLL 85.34 nats (1.924 bits/dim), one-sample bound (variational posterior), 82.28 with K=512; selected on
  validation.
Cost: 8 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vaes import ImageVAEConfig

CONFIG = Config(
    name="vae_conv_digits",
    data="digits",
    model=ImageVAEConfig(
        latent_dim=16,
        likelihood="discretized_logistic_mixture",
        network="residual_conv",
        width=32,
        depth=1,
        dropout=0.5,
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3, warmup_steps=50, weight_decay=0.3, clip_norm=10.0
    ),
    training=TrainingConfig(
        steps=2_500, batch_size=100, ema_decay=0.995, eval_every=100, patience=8
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
