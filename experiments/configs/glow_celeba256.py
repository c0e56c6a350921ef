"""Glow on the faces of CelebA-HQ at 256x256, 5 bits: 192 steps.

Reproduces: Glow (Kingma and Dhariwal, 2018, arXiv:1807.03039), 6 levels of 32 additive steps, width 512, section 6;
  its attributes and interpolations are experiments.attributes and experiments.interpolate.
Command: python -m experiments.train glow_celeba256 (celeb_a_hq/256 prepared, see docs/data.md; --smoke for a minute)
Expected: not yet run here.
Cost: published 40 GPUs for about a week.
"""

from experiments.settings.config import AugmentConfig, Config, OptimizerConfig, TrainingConfig
from experiments.settings.image_flows import GlowConfig

CONFIG = Config(
    name="glow_celeba256",
    data="celeb_a_hq/256",
    n_bits=5,
    model=GlowConfig(levels=6, depth=32, width=512, coupling="additive"),
    optimizer=OptimizerConfig(
        algorithm="adamax",
        learning_rate=1e-3,
        warmup_steps=6_000,  # 10 epochs
        schedule="constant",
        clip_norm=100.0,
    ),
    training=TrainingConfig(
        steps=600_000,
        batch_size=40,
        ema_decay=0.999,
        eval_every=6_000,
        patience=100,
        init_rows=40,
    ),
    augment=AugmentConfig(flip=True),
)
