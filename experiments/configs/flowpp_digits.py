"""A small Flow++ on the 8x8 digits, with variational dequantization.

Reproduces: Flow++ (Ho et al., 2019, arXiv:1902.00275) on scikit-learn's digits.
Command: python -m experiments.train flowpp_digits
Expected: test NLL 83.83 nats (1.89 bits/dim), one-sample bound (variational dequantization), 80.45 with K=64; selected
  on validation.
Cost: 16 minutes on 2 CPU cores that did much other work.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.image_flows import FlowPPConfig

CONFIG = Config(
    name="flowpp_digits",
    data="digits",
    model=FlowPPConfig(
        couplings=(2, 2, 2),
        width=32,
        depth=1,
        num_components=4,
        dropout=0.45,
        preprocess="histogram",
        reversible=False,
    ),
    dequantization=DequantizationConfig(
        kind="variational",
        couplings=4,
        width=24,
        depth=1,
        num_components=4,
        encoder_width=24,
        encoder_depth=2,
        dropout=0.0,
    ),
    optimizer=OptimizerConfig(
        learning_rate=2.5e-3, warmup_steps=50, weight_decay=0.4, clip_norm=1.0
    ),
    training=TrainingConfig(
        steps=3_000, batch_size=50, ema_decay=0.997, eval_every=100, patience=8
    ),
)
