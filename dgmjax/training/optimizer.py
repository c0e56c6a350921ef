"""The default optimizer: AdamW or Adamax with clipping, warm-up and cosine decay."""

from typing import Literal

import jax
import optax


def default_optimizer(
    *,
    learning_rate: float,
    steps: int,
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    b2: float = 0.999,
    algorithm: Literal["adamw", "adamax"] = "adamw",
    schedule: Literal["cosine", "constant"] = "cosine",
) -> optax.GradientTransformation:
    """AdamW or Adamax; the rate rises linearly over ``warmup_steps`` and falls to 0 along a half cosine by ``steps``.

    Weight decay acts on matrices only (arrays of rank 2 and more), not on biases and scales.

    Args:
      learning_rate: peak.
      steps: total number of steps.
      warmup_steps: of linear warm-up.
      weight_decay: decoupled; the update shrinks a weight by ``rate * weight_decay`` of itself.
      clip_norm: largest global gradient norm, or None.
      b2: decay of the second moment, for Adamax of the largest gradient.
      algorithm: ``"adamw"``, or ``"adamax"`` as in Glow's code, with the weight decay of AdamW.
      schedule: after the warm-up, ``"cosine"``, or ``"constant"`` as in Glow's code.

    Raises:
      ValueError: an unknown algorithm or schedule.

    Source: Kingma and Ba, 2015, arXiv:1412.6980 (Adam, Adamax); Loshchilov and Hutter, 2019, arXiv:1711.05101;
      Loshchilov and Hutter, 2017, arXiv:1608.03983.
    """
    algorithms = {"adamw": optax.adamw, "adamax": optax.adamaxw}
    if algorithm not in algorithms or schedule not in ("cosine", "constant"):
        raise ValueError(
            f"default_optimizer: expected algorithm 'adamw' or 'adamax' and schedule 'cosine' or 'constant', got "
            f"{algorithm!r} and {schedule!r}."
        )
    if schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            init_value=0.0 if warmup_steps else learning_rate,
            peak_value=learning_rate,
            warmup_steps=warmup_steps,
            decay_steps=max(steps, warmup_steps + 1),
        )
    else:
        rate = optax.warmup_constant_schedule(
            init_value=0.0 if warmup_steps else learning_rate,
            peak_value=learning_rate,
            warmup_steps=warmup_steps,
        )
    made = algorithms[algorithm](
        rate,
        b2=b2,
        weight_decay=weight_decay,
        mask=lambda params: jax.tree.map(lambda array: array.ndim > 1, params),
    )
    return made if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), made)
