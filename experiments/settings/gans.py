"""Typed settings of adversarial models."""

from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax
import tyro
from flax import nnx

import dgmjax as dgm
from dgmjax.numerics import map_rows, prng
from experiments.settings.derived import settings_of
from experiments.settings.model import ModelConfig


@settings_of(dgm.GAN, also=[dgm.objectives.adversarial_losses], leave_out=["network"])
class GANConfig(ModelConfig):
    """A generative adversarial network of dense layers."""

    monitor: ClassVar[str] = "discriminator_loss"
    monitor_label: ClassVar[str] = "discriminator's loss [nats]"
    network: ClassVar[Literal["mlp", "conv"]] = "mlp"
    smoke_sizes: ClassVar[dict[str, Any]] = {"generator_widths": (16, 32)}

    system: tyro.conf.Suppress[str] = "gan"
    discriminator_rate: float = 1.0
    """Learning rate of the discriminator, in units of the generator's."""

    def parts(self, dataset: dgm.data.Dataset, rngs: nnx.Rngs) -> dict[str, Any]:
        """The kind of the networks."""
        return super().parts(dataset, rngs) | {"network": self.network}

    def loss(self) -> Any:
        """The generator's loss and the discriminator's, in turn."""
        return dgm.objectives.adversarial_losses(
            saturating=self.saturating, r1=self.r1, noise=self.noise, smoothing=self.smoothing
        )

    def validation_loss(self) -> None:
        """None: no loss of the game says which weights have the best samples, so the last ones are kept."""

    def optimizers(self, default: optax.GradientTransformation) -> Any:
        """One for each part."""
        slower = optax.chain(default, optax.scale(self.discriminator_rate))
        return {"generator": default, "discriminator": slower}

    def measure(
        self, model: dgm.GAN, x: np.ndarray, context: np.ndarray | None, *, seed: int
    ) -> dict[str, Any]:
        """Losses in evaluation mode on ``x`` and as many samples, and how far apart the two are on average.

        ``difference_of_means`` and ``difference_of_deviations`` are over the elements of an event, mean absolute values
        in units of the range of the data. Scores of samples need a classifier: ``python -m experiments.score``.
        """
        del context
        keys = prng.example_keys(jax.random.key(seed), len(x))
        looks = map_rows(lambda x, keys: _look(model, x, keys), x, keys, batch_size=500)
        real, fake, real_logits, fake_logits = (np.asarray(part, np.float64) for part in looks)
        right = np.concatenate([real_logits > 0, fake_logits < 0])
        span = 2.0 if model.num_levels is not None else max(float(np.ptp(real)), 1e-12)
        discriminator = np.logaddexp(0, -real_logits) + np.logaddexp(0, fake_logits)
        return {
            "discriminator_loss": round(float(discriminator.mean()), 4),
            "generator_loss": round(float(np.logaddexp(0, -fake_logits).mean()), 4),
            "accuracy": round(float(right.mean()), 4),
            "difference_of_means": _difference(real.mean(0), fake.mean(0), span),
            "difference_of_deviations": _difference(real.std(0), fake.std(0), span),
            "rows": len(x),
        }

    def headline(self, test: dict[str, Any]) -> str:
        """The losses beside their values at the equilibrium."""
        return (
            f"discriminator's loss {test['discriminator_loss']:.3f} (log 4 = 1.386 at the equilibrium), generator's "
            f"{test['generator_loss']:.3f} (log 2 = 0.693), accuracy {test['accuracy']:.3f}; no likelihood"
        )


@settings_of(dgm.GAN, leave_out=["network"])
class ImageGANConfig(GANConfig):
    """A deep convolutional generative adversarial network."""

    images: ClassVar[bool] = True
    network: ClassVar[Literal["mlp", "conv"]] = "conv"
    smoke_sizes: ClassVar[dict[str, Any]] = {
        "generator_widths": (32, 16),
        "discriminator_widths": (16, 32),
    }

    system: tyro.conf.Suppress[str] = "gan_images"


@jax.jit
def _look(model: dgm.GAN, rows: jax.Array, keys: jax.Array) -> tuple[jax.Array, ...]:
    real = model.scaled(rows)
    fake = model.scaled(jax.vmap(lambda key: model.sample(seed=key))(keys))
    return real, fake, model.discriminate(real), model.discriminate(fake)


def _difference(a: np.ndarray, b: np.ndarray, span: float) -> float:
    return round(float(np.abs(a - b).mean() / span), 4)
