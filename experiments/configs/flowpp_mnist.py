"""Flow++ on MNIST, for an accelerator.

Reproduces: Flow++ (Ho et al., 2019, arXiv:1902.00275) on MNIST, 8 bits, smaller than the paper's for CIFAR-10.
Command: python -m experiments.train flowpp_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: published 1.02 for a flow with variational dequantization (the UvA tutorial); not yet run here.
Cost: meant for half an hour on an accelerator; not yet run.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.dequantization import DequantizationConfig
from experiments.settings.image_flows import FlowPPConfig

CONFIG = Config(
    name="flowpp_mnist",
    data="mnist",
    model=FlowPPConfig(
        couplings=(4, 4, 4),
        width=64,
        depth=4,
        num_components=8,
        dropout=0.1,
        preprocess="shared_histogram",
        reversible=False,
    ),
    dequantization=DequantizationConfig(
        kind="variational",
        couplings=2,
        width=32,
        depth=2,
        num_components=8,
        encoder_width=32,
        encoder_depth=2,
        dropout=0.0,
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=1_000, clip_norm=1.0),
    training=TrainingConfig(
        steps=20_000,
        batch_size=128,
        ema_decay=0.999,
        eval_every=1_000,
        patience=20,
        init_rows=2_048,
    ),
)
