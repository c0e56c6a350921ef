"""NICE on MNIST, for a CPU.

Reproduces: NICE (Dinh et al., 2015, arXiv:1410.8516): 4 additive couplings, a diagonal scaling and a logistic prior on
  MNIST; narrower, and on pixels that their histograms made normal.
Command: python -m experiments.train nice_mnist (with MNIST prepared, see docs/data.md; --smoke for a minute)
Expected: test 1.465 bits/dim, one-sample bound (uniform dequantization), selected on validation.
Cost: 2,000 steps in 7 minutes (4.8 a second) on 2 CPU cores that did other work too.
"""

from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.vector_flows import NICEConfig

CONFIG = Config(
    name="nice_mnist",
    data="mnist",
    model=NICEConfig(depth=4, width=500, hidden_layers=3, preprocess="histogram"),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=200, clip_norm=10.0),
    training=TrainingConfig(
        steps=2_000,
        batch_size=200,
        ema_decay=0.998,
        eval_every=250,
        patience=8,
        init_rows=8_192,
    ),
)
