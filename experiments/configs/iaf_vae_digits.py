"""A ladder of latent images with inverse autoregressive posteriors on the 8x8 digits.

Reproduces: the IAF-VAE of images (Kingma et al., 2016, arXiv:1606.04934, section 6.2), two resolutions of two layers,
  on scikit-learn's digits; pixels are mixtures of discretized logistics (Salimans et al., 2017, arXiv:1701.05517).
Command: python -m experiments.train iaf_vae_digits
Expected: test NLL 87.24 nats (1.966 bits/dim), one-sample bound (variational posterior), selected on validation.
Cost: 23 minutes on 2 CPU cores that did much other work, of which this run had about half of one.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vaes import IAFVAEConfig

CONFIG = Config(
    name="iaf_vae_digits",
    data="digits",
    model=IAFVAEConfig(
        resolutions=2,
        depth=2,
        width=48,
        latent_channels=4,
        iaf_depth=1,
        likelihood="discretized_logistic_mixture",
        free_bits=0.05,
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3, warmup_steps=100, weight_decay=0.1, clip_norm=10.0
    ),
    training=TrainingConfig(
        steps=3_000, batch_size=100, ema_decay=0.995, eval_every=100, patience=8
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
