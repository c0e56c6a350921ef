"""A VAE with two layers of latents and pseudo-inputs on the 8x8 digits.

Reproduces: the hierarchical VAE with a VampPrior (Tomczak and Welling, 2018, arXiv:1705.07120, section 4) with 8 and 8
  latents on scikit-learn's digits; pixels are mixtures of discretized logistics.
Command: python -m experiments.train hierarchical_vae_digits
Expected: test NLL 91.05 nats (2.053 bits/dim), one-sample bound (variational posterior), selected on validation.
Cost: 3 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.vaes import HierarchicalVAEConfig

CONFIG = Config(
    name="hierarchical_vae_digits",
    data="digits",
    model=HierarchicalVAEConfig(
        latent_dims=(8, 8),
        likelihood="discretized_logistic_mixture",
        width=128,
        dropout=0.2,
        prior="vamp",
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3, warmup_steps=50, weight_decay=0.1, clip_norm=10.0
    ),
    training=TrainingConfig(
        steps=2_500, batch_size=100, ema_decay=0.995, eval_every=100, patience=8
    ),
    augment=AugmentConfig(warp=0.25, shift=0.05),
)
