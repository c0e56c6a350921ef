"""Small versions of configs, to see that everything fits together."""

import dataclasses
from typing import Any

import dgmjax as dgm
from experiments.settings.config import Config

_SMOKE_SIZES = {
    "depth": 2,
    "units": 2,
    "blocks": 2,
    "width": 16,
    "filters": (16,),
    "pad_to": 16,
    "levels": 2,
    "resolutions": 2,
    "hidden_layers": 1,
    "anchor_every": 1,
    "num_components": 4,
    "couplings": (2, 1, 1),
}
_SMOKE_NOISE: dict[str, Any] = {
    "couplings": 2,
    "width": 16,
    "depth": 1,
    "num_components": 4,
    "encoder_depth": 1,
}


def smoke(config: Config) -> Config:
    """A small version of ``config`` that trains in a minute on two cores, to see that everything fits together.

    The same kind of model, at most two levels of two layers of width 16, for 60 steps on 512 rows of its data, or of
    the digits of scikit-learn where those are not prepared. Its number says nothing about the config.
    """
    sizes = {
        name: _at_most(getattr(config.model, name), most)
        for name, most in _SMOKE_SIZES.items()
        if getattr(config.model, name, None) is not None
    }
    training = dataclasses.replace(
        config.training, steps=60, batch_size=16, eval_every=20, init_rows=256, steps_per_call=1
    )
    optimizer = dataclasses.replace(config.optimizer, warmup_steps=10)
    if optimizer.algorithm == "sgd":
        # Its rate belongs to a size of the batch, linearly (Goyal et al., 2017, arXiv:1706.02677).
        rate = optimizer.learning_rate * training.batch_size / config.training.batch_size
        optimizer = dataclasses.replace(optimizer, learning_rate=rate)
    data, bits = config.data, config.n_bits
    try:
        dgm.data.find_prepared(data.removeprefix("tfds:"))
    except (dgm.data.DataNotFound, ValueError):
        if data not in dgm.data.DATASETS and not data.endswith((".npy", ".npz")):
            data, bits = "digits", 8
    return dataclasses.replace(
        config,
        name=f"{config.name}_smoke",
        data=data,
        n_bits=bits,
        max_rows=512,
        model=dataclasses.replace(config.model, **sizes | config.model.smoke_sizes),
        dequantization=dataclasses.replace(config.dequantization, **_SMOKE_NOISE),
        training=training,
        optimizer=optimizer,
    )


def _at_most(value: Any, most: Any) -> Any:
    """``value``, or all of its numbers, no larger than ``most``, or its first numbers than those of ``most``."""
    if not isinstance(value, tuple):
        return min(value, most)
    bounds = most if isinstance(most, tuple) else (most,) * len(value)
    return (*map(min, value, bounds), *value[len(bounds) :])
