"""Adversarial losses of the logits of a discriminator, its gradient penalty, and noise on what it sees."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgmjax.numerics import prng


def discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """``-log D(x) - log(1 - D(G(z))) = softplus(-l_real) + softplus(l_fake)``, elementwise, nats.

    ``D = sigmoid(l)``. Of the logits no sigmoid is taken: ``log(sigmoid(l))`` is ``-inf`` in float32 from ``l = -104``
    on, where the loss is 104 and its slope 1. Where ``p_g = p_data`` the best discriminator says 1/2 everywhere, and
    the loss is ``log 4 = 1.386``.

    Args:
      real_logits: ``l`` of data, any shape.
      fake_logits: ``l`` of samples, the same shape.

    Raises:
      ValueError: two shapes.

    Source: Goodfellow et al., 2014, *Generative adversarial nets*, arXiv:1406.2661, equation 1.
    """
    if real_logits.shape != fake_logits.shape:
        raise ValueError(
            f"discriminator_loss: expected as many logits of samples as of data, got shapes {fake_logits.shape} and "
            f"{real_logits.shape}; draw one sample for each row of the batch."
        )
    return jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)


def non_saturating_generator_loss(fake_logits: jax.Array) -> jax.Array:
    """``-log D(G(z)) = softplus(-l)``, elementwise, nats; its slope is ``-(1 - D)``.

    A generator that the discriminator sees through, ``D -> 0``, gets a slope of -1: 0.99995 at ``D = sigmoid(-10)``.

    Source: Goodfellow et al., 2014, arXiv:1406.2661, section 3.
    """
    return jax.nn.softplus(-fake_logits)


def saturating_generator_loss(fake_logits: jax.Array) -> jax.Array:
    """``log(1 - D(G(z))) = -softplus(l)``, elementwise, nats: the minimax game itself; its slope is ``-D``.

    A generator that the discriminator sees through learns nothing: 4.5e-5 at ``D = sigmoid(-10)``. It is this term, the
    second one of the game, that is near 0 early in training (errata E-A4-11 of the lectures, which name the first).

    Source: Goodfellow et al., 2014, arXiv:1406.2661, equation 1 and section 3.
    """
    return -jax.nn.softplus(fake_logits)


def r1_penalty(discriminate: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``|grad_x l(x)|^2``: ``[*batch, *event] -> [*batch]``, to be weighted by ``gamma / 2`` and taken of data.

    The gradient of each logit with respect to its own event; a discriminator with batch normalization, whose logits
    depend on other rows, has none.

    Args:
      discriminate: ``[*batch, *event] -> [*batch]``, logits.
      x: events.

    Source: Mescheder et al., 2018, *Which training methods for GANs do actually converge?*, arXiv:1801.04406,
      equation 9.
    """
    logits, pull_back = jax.vjp(discriminate, x)
    (gradient,) = pull_back(jnp.ones_like(logits))
    return jnp.square(gradient).sum(tuple(range(logits.ndim, x.ndim)))


def instance_noise(x: jax.Array, scale: float, key: jax.Array) -> jax.Array:
    """``x + scale N(0, I)``: data and samples blurred alike overlap, so the optimal discriminator is smooth.

    Args:
      x: events, ``[*batch, *event]``, floating point.
      scale: standard deviation, in units of ``x``.
      key: one key, or one an event.

    Source: Sonderby et al., 2017, *Amortised MAP inference for image super-resolution*, arXiv:1610.04490, section 3.3;
      Arjovsky and Bottou, 2017, arXiv:1701.04862, section 3.
    """
    noise = prng.draw(
        lambda key, shape: jax.random.normal(key, shape, x.dtype), key, tuple(x.shape)
    )
    return x + scale * noise
