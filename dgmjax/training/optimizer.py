"""The default optimizer: AdamW, Adamax or SGD with clipping, warm-up and a schedule."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import optax

_ALGORITHMS = ("adamw", "adamax", "sgd")
_SCHEDULES = ("cosine", "constant", "piecewise")
_KERNELS = ("kernels", "edge", "direction", "embedding")  # and whatever ends in "kernel"


def default_optimizer(
    *,
    learning_rate: float,
    steps: int,
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    algorithm: Literal["adamw", "adamax", "sgd"] = "adamw",
    schedule: Literal["cosine", "constant", "piecewise"] = "cosine",
    momentum: float = 0.9,
    milestones: Sequence[int] = (),
    decay: float = 0.1,
) -> optax.GradientTransformation:
    """AdamW, Adamax or SGD; the rate rises linearly over ``warmup_steps``, then follows a schedule, a half cosine to 0.

    Weight decay acts on the kernels of networks and on nothing else, see `decayed`.

    Args:
      learning_rate: peak.
      steps: total number of steps.
      warmup_steps: of linear warm-up.
      weight_decay: decoupled; the update shrinks a weight by ``rate * weight_decay`` of itself. For SGD the gradient of
        ``weight_decay / 2 |w|^2`` is added to that of the loss, as papers on classifiers do, and goes through momentum.
      clip_norm: largest global gradient norm, or None.
      b1: decay of the first moment; 0.5 is customary in adversarial training.
      b2: decay of the second moment, for Adamax of the largest gradient.
      algorithm: ``"adamw"``, ``"adamax"`` as in Glow's code, with the weight decay of AdamW, or ``"sgd"``.
      schedule: after the warm-up, ``"cosine"``, ``"constant"`` as in Glow's code, or ``"piecewise"`` constant.
      momentum: of SGD, ``v <- momentum v + gradient``, ``w <- w - rate v``.
      milestones: steps from which the rate of ``"piecewise"`` is multiplied by ``decay``, once more at each.
      decay: that factor.

    Raises:
      ValueError: an unknown algorithm or schedule.

    Source: Kingma and Ba, 2015, arXiv:1412.6980 (Adam, Adamax); Loshchilov and Hutter, 2019, arXiv:1711.05101;
      Loshchilov and Hutter, 2017, arXiv:1608.03983.
    """
    if algorithm not in _ALGORITHMS or schedule not in _SCHEDULES:
        raise ValueError(
            f"default_optimizer: expected an algorithm of {list(_ALGORITHMS)} and a schedule of {list(_SCHEDULES)}, "
            f"got {algorithm!r} and {schedule!r}."
        )
    if (schedule == "piecewise") != (len(milestones) > 0):
        raise ValueError(
            f"default_optimizer: milestones are the steps at which the schedule 'piecewise' falls and go with "
            f"it; got schedule {schedule!r} and milestones {tuple(milestones)}."
        )
    if schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            init_value=0.0 if warmup_steps else learning_rate,
            peak_value=learning_rate,
            warmup_steps=warmup_steps,
            decay_steps=max(steps, warmup_steps + 1),
        )
    elif schedule == "constant":
        rate = optax.warmup_constant_schedule(
            init_value=0.0 if warmup_steps else learning_rate,
            peak_value=learning_rate,
            warmup_steps=warmup_steps,
        )
    else:
        steps_down = optax.piecewise_constant_schedule(
            learning_rate, dict.fromkeys(milestones, decay)
        )
        warm_up = optax.linear_schedule(0.0 if warmup_steps else 1.0, 1.0, warmup_steps)

        def rate(step: jax.Array) -> jax.Array:
            return warm_up(step) * steps_down(step)

    if algorithm == "sgd":
        made = optax.chain(
            optax.add_decayed_weights(weight_decay, decayed), optax.sgd(rate, momentum)
        )
    else:
        adaptive = optax.adamw if algorithm == "adamw" else optax.adamaxw
        made = adaptive(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=decayed)
    return made if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), made)


def decayed(params: optax.Params) -> optax.Params:
    """Whether weight decay acts on each array: a mask for optax, decided by the name of the array, whatever its rank.

    It acts on what a network multiplies its inputs by: arrays called ``kernel``, ``..._kernel`` or ``kernels`` (dense
    layers and convolutions, here and in Flax), ``edge`` (the slice of a kernel for the indicator of the edge),
    ``direction`` (the kernel of a weight-normalised layer before its gain; decay keeps its norm, and so its effective
    rate, from drifting) and ``embedding``. Never on biases, gains and scales, on positions that are added, or on what
    an invertible layer is made of: matrices, PLU factors, affine parameters, bins of splines; nor on priors and
    pseudo-inputs. For another choice give optax a mask of your own.

    Args:
      params: a pytree of arrays. The name of one is the last word on the way to it that is no index: ``kernel`` of
        ``"bijector/layers/0/conditioner/last/kernel"``, as in `dgmjax.training.partition`, and of
        ``{"dense": {"kernel": array}}``.

    Returns:
      The same pytree of booleans.

    Source: van Laarhoven, 2017, *L2 regularization versus batch and weight normalization*, arXiv:1706.05350 (what decay
      does to a kernel whose norm the function does not depend on).
    """

    def acts(path: tuple[Any, ...], array: jax.Array) -> bool:
        del array
        words = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        names = [word for word in words if word != "value" and not word.isdigit()]
        return bool(names) and (names[-1].endswith("kernel") or names[-1] in _KERNELS)

    return jax.tree_util.tree_map_with_path(acts, params)
