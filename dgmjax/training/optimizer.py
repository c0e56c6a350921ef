"""The default optimizer: AdamW with clipping, warm-up and cosine decay."""

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
) -> optax.GradientTransformation:
    """AdamW whose rate rises linearly over ``warmup_steps`` and falls to 0 along a half cosine by ``steps``.

    Weight decay acts on matrices only (arrays of rank 2 and more), not on biases and scales.

    Args:
      learning_rate: peak.
      steps: total number of steps.
      warmup_steps: of linear warm-up.
      weight_decay: decoupled; the update shrinks a weight by ``rate * weight_decay`` of itself.
      clip_norm: largest global gradient norm, or None.
      b2: decay of the second moment.

    Source: Loshchilov and Hutter, 2019, arXiv:1711.05101; Loshchilov and Hutter, 2017, arXiv:1608.03983.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup_steps else learning_rate,
        peak_value=learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(steps, warmup_steps + 1),
    )
    adamw = optax.adamw(
        schedule,
        b2=b2,
        weight_decay=weight_decay,
        mask=lambda params: jax.tree.map(lambda array: array.ndim > 1, params),
    )
    return adamw if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adamw)
