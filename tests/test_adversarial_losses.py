"""The adversarial losses of a game whose logits can be written down, term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgmjax.objectives import DiscriminatorLoss, GeneratorLoss, adversarial_losses

KEYS = jax.random.split(jax.random.key(0), 5)
DATA = np.random.RandomState(0).normal(size=(5, 2))
DROPPED, KEPT = 0.3, 0.7


class Game(nnx.Module):
    """A generator that returns its latents, and ``l(x) = a |x|^2``: with dropout another ``a`` than without."""

    latent_dim = 2
    event_shape = (2,)

    def __init__(self):
        self.a = nnx.Param(jnp.ones(()))

    def generate_and_update(self, z):
        return z, self

    def scaled(self, x):
        return x

    def discriminate(self, x, *, key=None):
        return (KEPT if key is None else DROPPED) * self.a[...] * (x**2).sum(-1)

    def discriminate_and_update(self, x, *, key=None):
        assert key is None or key.shape == x.shape[:1]
        return self.discriminate(x, key=key), "updated"


def normal(which: int) -> np.ndarray:
    """Normal numbers of a row, from the key of that number."""
    return np.stack([jax.random.normal(jax.random.split(key, 3)[which], (2,)) for key in KEYS])


def softplus(values: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(values))


def logits(x: np.ndarray) -> np.ndarray:
    return DROPPED * (x**2).sum(-1)


def value_of(loss):
    value, metrics, new = loss(Game(), {"x": jnp.asarray(DATA)}, KEYS)
    return float(value), {name: float(s / n) for name, (s, n) in metrics.items()}, new


@pytest.mark.parametrize("saturating", [False, True])
def test_the_loss_of_the_generator(saturating):
    losses = adversarial_losses(saturating=saturating)
    fake = logits(normal(0))
    value, metrics, new = value_of(losses["generator"])
    expected = -softplus(fake).mean() if saturating else softplus(-fake).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(metrics["fake_probability"], (1 / (1 + np.exp(-fake))).mean())
    assert isinstance(new, Game)


def test_noise_has_a_key_of_its_own_for_data_and_for_samples():
    """Shared with the latents, it would be a factor of the samples."""
    fake = normal(0) + 0.5 * normal(1)
    value, _, _ = value_of(GeneratorLoss(instance_noise=0.5))
    np.testing.assert_allclose(value, softplus(-logits(fake)).mean(), rtol=1e-9)
    both = np.stack([jax.random.normal(jax.random.split(key, 3)[1], (2, 2)) for key in KEYS])
    value, _, _ = value_of(DiscriminatorLoss(instance_noise=0.5))
    real, fake = DATA + 0.5 * both[:, 0], normal(0) + 0.5 * both[:, 1]
    expected = softplus(-logits(real)).mean() + softplus(logits(fake)).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_the_terms_of_the_discriminator():
    real, fake = logits(DATA), logits(normal(0))
    value, metrics, new = value_of(adversarial_losses()["discriminator"])
    plain = softplus(-real).mean() + softplus(fake).mean()
    np.testing.assert_allclose(value, plain, rtol=1e-9)
    assert new == "updated"
    assert set(metrics) == {"real_probability", "fake_probability", "accuracy"}
    # All logits are positive: all data are told right, and no samples.
    assert metrics["accuracy"] == 0.5
    for name, own in (("real_probability", real), ("fake_probability", fake)):
        np.testing.assert_allclose(metrics[name], (1 / (1 + np.exp(-own))).mean(), rtol=1e-9)
    # -(1 - s) log D - s log(1 - D) of the data.
    value, _, _ = value_of(adversarial_losses(smoothing=0.1)["discriminator"])
    of_real = 0.9 * softplus(-real) + 0.1 * softplus(real)
    np.testing.assert_allclose(value, of_real.mean() + softplus(fake).mean(), rtol=1e-9)
    # The gradient at an event is 2 a x: with dropout as in the logits, at data and not at samples.
    value, metrics, _ = value_of(adversarial_losses(r1=3.0)["discriminator"])
    squares = 4 * DROPPED**2 * (DATA**2).sum(-1).mean()
    np.testing.assert_allclose(metrics["r1"], squares, rtol=1e-9)
    np.testing.assert_allclose(value, plain + 1.5 * squares, rtol=1e-9)


def test_options_go_to_the_losses_that_have_them():
    assert adversarial_losses(saturating=True, r1=0.1, noise=0.2, smoothing=0.3) == {
        "generator": GeneratorLoss(saturating=True, instance_noise=0.2),
        "discriminator": DiscriminatorLoss(r1=0.1, instance_noise=0.2, smoothing=0.3),
    }
