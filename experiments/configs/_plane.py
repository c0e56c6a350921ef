"""What the 2-D configs share."""

from experiments.config import Config, OptimizerConfig, RealNVPConfig, TrainingConfig


def plane_config(toy: str) -> Config:
    """RealNVP on one of `dgmjax.data.TOYS`."""
    return Config(
        name=f"realnvp_{toy}",
        data=toy,
        model=RealNVPConfig(depth=12, width=64, activation="silu", preprocess="standardize"),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100),
        training=TrainingConfig(steps=5_000, batch_size=512, ema_decay=0.995, eval_every=250),
    )
