"""The 2-D suite: every system on every toy, ``<system>_<toy>``, each with the true density beside the learned one.

Reproduces: the usual 2-D pictures of flow papers, as likelihoods that can be compared with the truth.
Command: python -m experiments.train <system>_<toy>, e.g. realnvp_two_moons or maf_spirals
Expected: test nats, exact, next to those of the true density; `python -m experiments.plane` prints the table,
  docs/results.md has it for two of the toys.
Cost: about a minute a run on 2 CPU cores.
"""

import dataclasses

import dgmjax as dgm
from experiments.settings.config import Config, OptimizerConfig, TrainingConfig
from experiments.settings.flow import FlowConfig
from experiments.settings.vector_flows import (
    IAFConfig,
    MAFConfig,
    NICEConfig,
    PlanarConfig,
    RadialConfig,
    RealNVPConfig,
    ResidualConfig,
    SplineConfig,
)

MODELS: tuple[FlowConfig, ...] = (
    NICEConfig(depth=12, width=64, activation="silu"),
    RealNVPConfig(depth=12, hidden_layers=2, mask="alternating", activation="silu"),
    SplineConfig(depth=6),
    MAFConfig(depth=8, width=64, activation="silu"),
    IAFConfig(depth=8, width=64, activation="silu"),
    PlanarConfig(depth=32),
    RadialConfig(depth=32),
    ResidualConfig(depth=8),
)

_BASE = Config(
    name="",
    data="",
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100),
    training=TrainingConfig(steps=3_000, batch_size=512, ema_decay=0.995, eval_every=250),
)

CONFIGS: dict[str, Config] = {
    f"{model.system}_{toy}": dataclasses.replace(
        _BASE, name=f"{model.system}_{toy}", data=toy, model=model
    )
    for model in MODELS
    for toy in dgm.data.TOYS
}
