"""The two losses of adversarial training, for `dgmjax.fit`, which takes them in turn within a step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.checks import floating_dtype, widened
from dgmjax.numerics import prng
from dgmjax.objectives.gan_game import (
    discriminator_loss,
    instance_noise,
    non_saturating_generator_loss,
    r1_penalty,
    saturating_generator_loss,
)
from dgmjax.objectives.maximum_likelihood import Batch, Metrics


@dataclasses.dataclass(frozen=True)
class GeneratorLoss:
    """``E[-log D(G(z))]``, or ``E[log(1 - D(G(z)))]`` if ``saturating``, with dropout on: the loss of ``generator``.

    The generator runs in training mode, and its new running statistics are returned. Metric: ``fake_probability``, the
    mean of ``D(G(z))``.

    Attributes:
      saturating: the minimax game itself, see `dgmjax.objectives.saturating_generator_loss`.
      instance_noise: standard deviation of the noise on samples, in the scale of the networks, where data span [-1, 1].
    """

    saturating: bool = False
    instance_noise: float = 0.0

    def __post_init__(self) -> None:
        """Reject bad settings at construction.

        Raises:
          ValueError: a negative number.
        """
        _check("GeneratorLoss", instance_noise=self.instance_noise)

    def __call__(self, model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics, Any]:
        """Loss, metrics and new model for `dgmjax.GAN`; as many samples as ``batch["x"]`` has rows."""
        latent_key, noise_key, dropout_key = prng.split(key, 3)
        fake, model = model.generate_and_update(_latents(model, batch, latent_key))
        if self.instance_noise:
            fake = instance_noise(fake, self.instance_noise, noise_key)
        logits = widened(model.discriminate(fake, key=dropout_key))
        of_logits = saturating_generator_loss if self.saturating else non_saturating_generator_loss
        metrics = {"fake_probability": _mean(jax.nn.sigmoid(logits))}
        return of_logits(logits).mean(), metrics, model


@dataclasses.dataclass(frozen=True)
class DiscriminatorLoss:
    """``E[-log D(x)] + E[-log(1 - D(G(z)))] + r1 / 2 E|grad_x l(x)|^2``, dropout on: the loss of ``discriminator``.

    Samples are those of the generator in training mode, held fixed. Metrics: ``real_probability`` and
    ``fake_probability``, means of ``D``; ``accuracy``, the share of data and samples told right; ``r1``, the mean of
    the squared gradient where there is a price on it.

    Attributes:
      r1: ``gamma``, the price of the gradient at the data, see `dgmjax.objectives.r1_penalty`.
      instance_noise: standard deviation of the noise on data and samples, in the scale of the networks.
      smoothing: one-sided label smoothing: the target of ``D`` on data is ``1 - smoothing``.

    Source of the smoothing: Salimans et al., 2016, *Improved techniques for training GANs*, arXiv:1606.03498,
      section 3.4.
    """

    r1: float = 0.0
    instance_noise: float = 0.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Reject bad settings at construction.

        Raises:
          ValueError: a number out of range.
        """
        _check("DiscriminatorLoss", r1=self.r1, instance_noise=self.instance_noise)
        if not 0.0 <= self.smoothing < 0.5:
            raise ValueError(
                f"DiscriminatorLoss: smoothing must be in [0, 0.5), got {self.smoothing}."
            )

    def __call__(self, model: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics, Any]:
        """Loss, metrics and new model for `dgmjax.GAN`; as many samples as ``batch["x"]`` has rows."""
        latent_key, noise_key, dropout_key = prng.split(key, 3)
        fake, _ = model.generate_and_update(_latents(model, batch, latent_key))
        both = jnp.stack([model.scaled(batch["x"]), jax.lax.stop_gradient(fake)], axis=1)
        if self.instance_noise:
            both = instance_noise(both, self.instance_noise, noise_key)
        logits, new = model.discriminate_and_update(both, key=dropout_key)
        real_logits, fake_logits = widened(logits[:, 0]), widened(logits[:, 1])
        # softplus(-l) + s l = -(1 - s) log D - s log(1 - D).
        smoothed = self.smoothing * real_logits.mean()
        loss = discriminator_loss(real_logits, fake_logits).mean() + smoothed
        right = jnp.stack([real_logits > 0, fake_logits < 0]).astype(loss.dtype)
        metrics = {
            "real_probability": _mean(jax.nn.sigmoid(real_logits)),
            "fake_probability": _mean(jax.nn.sigmoid(fake_logits)),
            "accuracy": _mean(right),
        }
        if self.r1:
            penalty = widened(
                r1_penalty(lambda x: model.discriminate(x, key=dropout_key), both[:, 0])
            )
            loss = loss + 0.5 * self.r1 * penalty.mean()
            metrics["r1"] = _mean(penalty)
        return loss, metrics, new


def adversarial_losses(
    *, saturating: bool = False, r1: float = 0.0, noise: float = 0.0, smoothing: float = 0.0
) -> dict[str, GeneratorLoss | DiscriminatorLoss]:
    """What `dgmjax.fit` takes as ``loss`` for a `dgmjax.GAN`: the generator's first, as in the lectures.

    Args:
      saturating: the generator's loss of the minimax game, rather than the non-saturating one.
      r1: price of the discriminator's gradient at the data.
      noise: standard deviation of the instance noise, which both see.
      smoothing: one-sided label smoothing.

    Raises:
      ValueError: a number out of range.
    """
    return {
        "generator": GeneratorLoss(saturating, noise),
        "discriminator": DiscriminatorLoss(r1, noise, smoothing),
    }


def _latents(model: Any, batch: Batch, key: jax.Array) -> jax.Array:
    dtype, rows = floating_dtype(model), len(batch["x"])
    return prng.draw(
        lambda key, shape: jax.random.normal(key, shape, dtype), key, (rows, model.latent_dim)
    )


def _mean(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    return values.sum(), jnp.asarray(values.size, values.dtype)


def _check(where: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"{where}: {name} must be at least 0, got {number}.")
