"""The VAE of the UvA assignment on binary MNIST.

Reproduces: 784-500-20 with tanh and Bernoulli pixels (rows A4-14 of the lectures), Adam at 1e-3, batches of 128, 40
  epochs; here on a static binarisation of its own (docs/data.md), with averaged weights.
Command: python -m experiments.train vae_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: test 101.56 nats, one-sample bound (variational posterior), selected on validation.
Cost: 17,000 steps in 2 minutes (150 a second) on 2 CPU cores.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.vaes import VAEConfig

CONFIG = Config(
    name="vae_mnist",
    data="mnist",
    binarize=True,
    model=VAEConfig(latent_dim=20, likelihood="bernoulli", width=500, depth=1, activation="tanh"),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=0, clip_norm=None),
    training=TrainingConfig(
        steps=17_000,
        batch_size=128,
        ema_decay=0.999,
        eval_every=425,
        patience=40,
        steps_per_call=25,
    ),
)
