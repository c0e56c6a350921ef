"""A small RealNVP on natural images, for a CPU.

Reproduces: RealNVP (Dinh et al., 2017, arXiv:1605.08803) in its multi-scale architecture, on 32x32 natural images.
Command: python -m experiments.train realnvp_natural32 (with natural32 prepared, see docs/data.md; --smoke for a minute)
Expected: not yet run to its end.
Cost: about 2 steps a second on 2 CPU cores.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import ImageRealNVPConfig

CONFIG = Config(
    name="realnvp_natural32",
    data="natural32",
    model=ImageRealNVPConfig(
        levels=2,
        depth=2,
        hidden_layers=1,
        width=24,
        widen=True,
        normalization="actnorm",
        preprocess="standardize",
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
    augment=AugmentConfig(flip=True),
)
