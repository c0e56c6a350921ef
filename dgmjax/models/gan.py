"""The generative adversarial network: a generator, and a discriminator that tells its samples from data."""

from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from dgmjax.checks import as_shape, batch_shape, floating_dtype, level_dtype
from dgmjax.densities.bound import Bound
from dgmjax.densities.rgb_mixture import rescaled
from dgmjax.layers.serialization.recorded import recorded
from dgmjax.nets.gan.dcgan import ConvDiscriminator, ConvGenerator
from dgmjax.nets.gan.mlp import MLPDiscriminator, MLPGenerator
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled

GANNetwork = Literal["mlp", "conv"]


@recorded
class GAN(Module):
    """``x = G(z)``, ``z ~ N(0, I)``, trained against ``D(x) = sigmoid(l(x))``: samples without a density.

    The networks see data in their own scale: levels in [-1, 1], floats as they are. There is no ``log_prob``; training
    is a game of two losses, each of its own part and with its own optimizer::

        dgm.fit(gan, x, loss=dgm.objectives.adversarial_losses(), optimizer={"generator": ..., "discriminator": ...})

    Args:
      event_shape: shape of an event, a vector or an image ``(h, w, c)``.
      latent_dim: length ``d`` of ``z``.
      num_levels: levels of discrete data, integers ``0 .. num_levels - 1``; the generator then ends with ``tanh``.
        None for continuous data, a linear end.
      network: ``"mlp"``: `dgmjax.nets.MLPGenerator` and `dgmjax.nets.MLPDiscriminator`, or ``"conv"`` for images:
        `dgmjax.nets.ConvGenerator` and `dgmjax.nets.ConvDiscriminator`, a DCGAN.
      generator_widths: units or channels, from the latents to the event; default those of the network.
      discriminator_widths: units or channels, from the event to the logit.
      batch_norm: of the generator.
      dropout: of the discriminator; default 0.3 of ``"mlp"``, as in the lectures, and none of ``"conv"``.
      spectral_norm: of the discriminator.
      generator: a module ``generator(z, key=None) -> [*batch, *event]`` instead; if it has state,
        ``generator.apply_and_update(z, key=None) -> (x, new)`` is its training mode.
      discriminator: a module ``discriminator(x, key=None) -> [*batch]`` instead, with the same training mode.
      rngs: ``nnx.Rngs`` for the initial weights; not kept.

    Raises:
      ValueError: an unknown network, an event that does not fit it, or numbers out of range.

    Source: Goodfellow et al., 2014, *Generative adversarial nets*, arXiv:1406.2661; ``"conv"``: Radford et al., 2016,
      arXiv:1511.06434.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        latent_dim: int = 100,
        num_levels: int | None = None,
        network: GANNetwork = "mlp",
        generator_widths: Sequence[int] | None = None,
        discriminator_widths: Sequence[int] | None = None,
        batch_norm: bool = True,
        dropout: float | None = None,
        spectral_norm: bool = False,
        generator: nnx.Module | None = None,
        discriminator: nnx.Module | None = None,
        rngs: nnx.Rngs,
    ):
        if network not in get_args(GANNetwork):
            raise ValueError(
                f"GAN: network: expected one of {list(get_args(GANNetwork))}, got {network!r}."
            )
        if latent_dim < 1 or (num_levels is not None and num_levels < 2):
            raise ValueError(
                f"GAN: expected latent_dim >= 1 and num_levels >= 2 or None, got {latent_dim} and {num_levels}."
            )
        self.event_shape = tuple(event_shape)
        self.latent_dim = latent_dim
        self.num_levels = num_levels
        mlp = network == "mlp"
        if generator is None:
            widths = {} if generator_widths is None else {"widths": tuple(generator_widths)}
            make_generator: Any = MLPGenerator if mlp else ConvGenerator
            generator = make_generator(
                latent_dim,
                self.event_shape,
                batch_norm=batch_norm,
                bounded=num_levels is not None,
                rngs=rngs,
                **widths,
            )
        if discriminator is None:
            options: dict[str, Any] = {} if dropout is None else {"dropout": dropout}
            if discriminator_widths is not None:
                options["widths"] = tuple(discriminator_widths)
            make_discriminator: Any = MLPDiscriminator if mlp else ConvDiscriminator
            discriminator = make_discriminator(
                self.event_shape, spectral_norm=spectral_norm, rngs=rngs, **options
            )
        self.generator = nnx.data(generator)
        self.discriminator = nnx.data(discriminator)

    def bound(self, num_samples: int = 1) -> Bound:
        """No likelihood: the label of training records."""
        del num_samples
        return Bound("no likelihood")

    @compiled
    def generate(self, z: jax.Array) -> jax.Array:
        """``G(z)`` in the scale of the networks: ``[*batch, d] -> [*batch, *event]``, with the running statistics."""
        batch_shape(z, (self.latent_dim,), where="GAN.generate")
        return self.generator(z)

    @compiled
    def generate_and_update(self, z: jax.Array) -> tuple[jax.Array, Self]:
        """``G(z)`` with the statistics of the batch, and the model with a generator that has new running ones."""
        batch_shape(z, (self.latent_dim,), where="GAN.generate_and_update")
        return self._updated("generator", z, None)

    @compiled
    def discriminate(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``l(x)``, the logit that ``x`` is data: ``[*batch, *event] -> [*batch]``.

        Args:
          x: events in the scale of the networks, of `generate` or of `scaled`.
          key: one, or one an event; switches dropout on.
        """
        batch_shape(x, self.event_shape, where="GAN.discriminate")
        return self.discriminator(x, key=key)

    @compiled
    def discriminate_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same logits, and the model with a discriminator whose power iterations are one step further."""
        batch_shape(x, self.event_shape, where="GAN.discriminate_and_update")
        return self._updated("discriminator", x, key)

    @compiled
    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        temperature: ArrayLike = 1.0,
    ) -> jax.Array:
        """Draw ``G(z)``, ``z ~ N(0, I)``: ``[*sample_shape, *event]``, integers for discrete data.

        Args:
          seed: typed key.
          sample_shape: int or tuple.
          temperature: factor on the latents.
        """
        dtype = floating_dtype(self)
        z = jax.random.normal(seed, (*as_shape(sample_shape), self.latent_dim), dtype)
        return self.from_code(z * jnp.asarray(temperature, dtype))

    @property
    def code_shape(self) -> tuple[int, ...]:
        """``(d,)``; there are codes, ``z``, but no encoder."""
        return (self.latent_dim,)

    @compiled
    def from_code(self, code: jax.Array) -> jax.Array:
        """``G(z)`` as the data are: ``[*batch, d] -> [*batch, *event]``, int32 for discrete data."""
        return self.unscaled(self.generate(code))

    @compiled
    def scaled(self, x: jax.Array) -> jax.Array:
        """Events as the networks take them: levels in [-1, 1], floats as they are."""
        if self.num_levels is None:
            return x
        return rescaled(x.astype(floating_dtype(self)), self.num_levels)

    @compiled
    def unscaled(self, x: jax.Array) -> jax.Array:
        """The inverse of `scaled`: the nearest levels as integers, floats as they are."""
        if self.num_levels is None:
            return x
        levels = jnp.round(0.5 * (self.num_levels - 1) * (x + 1.0))
        return jnp.clip(levels, 0, self.num_levels - 1).astype(level_dtype(self.num_levels))

    def _updated(self, part: str, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Self]:
        """The output of a part in training mode, and the model with its new state."""
        net = getattr(self, part)
        if not hasattr(net, "apply_and_update"):
            return net(x, key=key), self
        out, updated = net.apply_and_update(x, key=key)
        new = nnx.clone(self)
        setattr(new, part, nnx.data(updated))
        return out, new
