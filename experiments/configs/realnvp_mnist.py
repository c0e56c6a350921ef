"""A small RealNVP on MNIST, for a CPU.

Reproduces: RealNVP (Dinh et al., 2017, arXiv:1605.08803) in its multi-scale architecture, on MNIST, 8 bits.
Command: python -m experiments.train realnvp_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: validation 1.274 bits/dim after 1,500 of the steps, one-sample bound (uniform dequantization); the test number
  is not yet measured.
Cost: about 2 steps a second on 2 CPU cores that did other work too.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import ImageRealNVPConfig

CONFIG = Config(
    name="realnvp_mnist",
    data="mnist",
    model=ImageRealNVPConfig(
        levels=2,
        depth=2,
        hidden_layers=1,
        width=24,
        widen=True,
        normalization="actnorm",
        preprocess="shared_histogram",
        reversible=False,
    ),
    optimizer=OptimizerConfig(learning_rate=5e-3, warmup_steps=200, clip_norm=10.0),
    training=TrainingConfig(
        steps=2_000,
        batch_size=32,
        ema_decay=0.998,
        eval_every=500,
        patience=20,
        init_rows=2_048,
    ),
)
