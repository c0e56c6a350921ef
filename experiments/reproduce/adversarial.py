"""Generative adversarial networks: the game on the line, losses, samples."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

import dgmjax as dgm
from experiments.reproduce.entry import Check, Context, at_least, at_most, close, entry


@entry("A4-17", "A4-18", "A4-19", title="The game: -log 4 + 2 JSD at the optimal discriminator")
def game(context: Context) -> list[Check]:
    """Two Gaussians on the line, by quadrature."""
    del context
    x = jnp.linspace(-12.0, 12.0, 4_001)
    p, q = (jax.scipy.stats.norm.logpdf(x, loc, scale) for loc, scale in ((0.0, 1.0), (1.0, 1.5)))
    best = dgm.objectives.optimal_discriminator(p, q)
    value = float(dgm.objectives.minimax_value(p, q, best, x))
    divergence = float(dgm.objectives.jensen_shannon_divergence(p, q, x))
    equal = float(dgm.objectives.minimax_value(p, p, dgm.objectives.optimal_discriminator(p, p), x))
    other = float(dgm.objectives.minimax_value(p, q, best + 0.3, x))
    return [
        close("V(D*, G) + log 4 - 2 JSD", value + math.log(4) - 2 * divergence, 0.0, 1e-5),
        close("V with p_g = p_data", equal, -1.3862944, 1e-5),
        at_least("loss of another discriminator", value - other, 1e-4),
    ]


@entry("A4-20", title="Slopes of the generator's losses where the discriminator is sure")
def slopes(context: Context) -> list[Check]:
    """At ``D(G(z)) = sigmoid(-10)``."""
    del context
    logits = jnp.array([-10.0])
    saturating = jax.grad(lambda a: dgm.objectives.saturating_generator_loss(a).sum())(logits)
    other = jax.grad(lambda a: dgm.objectives.non_saturating_generator_loss(a).sum())(logits)
    return [
        close("saturating, times 1e5", 1e5 * abs(float(saturating[0])), 4.54, 0.01),
        close("non-saturating", abs(float(other[0])), 0.99995, 1e-5),
    ]


@entry("A4-21", title="TABLE: sizes of the networks of the assignment")
def sizes(context: Context) -> list[Check]:
    """Of MNIST, 784 pixels."""
    del context
    gan = jax.eval_shape(lambda: dgm.GAN((784,), latent_dim=100, num_levels=256, rngs=nnx.Rngs(0)))
    params, _, _ = dgm.training.partition(gan)
    count = {
        part: sum(a.size for name, a in params.items() if name.startswith(f"{part}/"))
        for part in ("generator", "discriminator")
    }
    by_hand = 784 * 512 + 512 + 512 * 256 + 256 + 256 + 1
    return [
        close("discriminator, 784-512-256-1", count["discriminator"], by_hand, 0),
        at_least("generator, 100-128-256-512-1024-784", count["generator"], 1_489_936),
    ]


@entry("A4-22", title="FIGURE: samples of a GAN along its training")
def samples(context: Context) -> list[Check]:
    """The mean picture comes to that of the data."""
    record = context.figure("gan_samples")
    differences = record["difference_of_means"]
    return [
        at_most(
            "difference of mean pictures, last over first", differences[-1] / differences[0], 0.6
        )
    ]


@entry("A4-23", title="FIGURE: losses of a GAN, with those of the equilibrium")
def losses(context: Context) -> list[Check]:
    """The discriminator ends between certainty and ignorance."""
    record = context.figure("gan_curves")
    last = record["discriminator_loss"][-1]
    return [
        at_least("discriminator's loss at the end, nats", last, 0.05),
        at_most("discriminator's loss at the end, nats", last, math.log(4) + 0.3),
    ]


@entry("A4-24", title="FIGURE: interpolation of latents: in the unit cube, straight, spherical")
def interpolation(context: Context) -> list[Check]:
    """Mean squares in the middle: 1/2 on straight lines, about 1 on great circles."""
    squares = context.figure("gan_interpolation")["mean_square_of_latents"]
    middle = {kind: values[len(values) // 2] for kind, values in squares.items()}
    return [
        close("linear", middle["linear"], 0.5, 0.03),
        close("spherical", middle["spherical"], 1.0, 0.05),
        close("cube", middle["cube"], 0.363, 0.03),
    ]
