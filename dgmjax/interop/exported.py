"""Reading what `dgmjax.interop.export` wrote."""

import json
import math
import pathlib

import jax
import jax.numpy as jnp
from jax import export as jax_export

from dgmjax.checks import as_context, batch_shape, sample_batch
from dgmjax.densities.bound import Bound
from dgmjax.interop.export import DESCRIPTION, FORMAT
from dgmjax.training.manifest import find_damage


class ExportedDensity:
    """``log_prob`` and ``sample`` of a model whose code is not there; duck-types the model in evaluation.

    Both work inside ``jax.jit``; ``jax.grad`` of ``log_prob`` in ``x`` works if the artifact is ``differentiable``.
    Leading batch axes are any; ``jax.vmap`` of an exported function is not possible in JAX.

    Attributes:
      description: what ``density.json`` says.
      event_shape: shape of one event.
      context_shape: shape of one context, or None.
    """

    def __init__(self, path: pathlib.Path, description: dict):
        self.description = description
        self.event_shape = tuple(description["event_shape"])
        shape = description["context_shape"]
        self.context_shape = None if shape is None else tuple(shape)
        self._bound = Bound(**description["bound"])
        self._dtype = jnp.dtype(description["dtype"])
        self._functions = {
            name: jax_export.deserialize(bytearray((path / f"{name}.jaxexport").read_bytes()))
            for name in description["functions"]
        }

    def bound(self, num_samples: int | None = None) -> Bound:
        """What `log_prob` is; the number of importance samples is the exported one, whatever the argument."""
        del num_samples
        return self._bound

    def log_prob(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        *,
        seed: jax.Array | None = None,
        num_samples: int | None = None,
    ) -> jax.Array:
        """``[*batch, *event] -> [*batch]``, nats; what it is says `bound`.

        Args:
          value: events; floats are cast to the dtype of the artifact.
          context: ``[*batch, *context_shape]`` or one row, for a conditional model.
          seed: typed keys, for a bound: one, which is split into one an event, or one an event.
          num_samples: may repeat the number that was exported.

        Raises:
          TypeError: integers where floats are needed, or the reverse.
          ValueError: wrong shapes, a missing seed, or a number of samples that was not exported.
        """
        where = "ExportedDensity.log_prob"
        value = jnp.asarray(value)
        batch = batch_shape(value, self.event_shape, where=where)
        context = as_context(context, self.context_shape, batch, where=where, dtype=jnp.float32)
        kind = jnp.floating if jnp.issubdtype(self._dtype, jnp.floating) else jnp.integer
        if not jnp.issubdtype(value.dtype, kind):
            raise TypeError(
                f"{where}: expected values of a {kind.__name__} dtype, got {value.dtype}; the artifact takes "
                f"{self._dtype}."
            )
        arguments = [value.astype(self._dtype).reshape(math.prod(batch), *self.event_shape)]
        if self._bound.is_noisy:
            if seed is None:
                raise ValueError(
                    f"{where}: the artifact holds a {self._bound}, which draws noise; pass seed=jax.random.key(...)."
                )
            if num_samples not in (None, self._bound.num_samples):
                raise ValueError(
                    f"{where}: the artifact holds a {self._bound}; export the model again with "
                    f"num_samples={num_samples} for another."
                )
            arguments.append(_key_data(seed, math.prod(batch)))
        if context is not None:
            arguments.append(self._rows(context, batch))
        return self._functions["log_prob"].call(*arguments).reshape(batch)

    def sample(
        self,
        *,
        seed: jax.Array,
        sample_shape: int | tuple[int, ...] = (),
        context: jax.Array | None = None,
    ) -> jax.Array:
        """Draw ``[*sample_shape, *event]``; with a context of batch ``[*c]``, ``[*sample_shape, *c, *event]``."""
        context = as_context(
            context,
            self.context_shape,
            None,
            where="ExportedDensity.sample",
            dtype=jnp.float32,
        )
        batch = sample_batch(sample_shape, context, self.context_shape)
        arguments = [_key_data(seed, math.prod(batch))]
        if context is not None:
            arguments.append(self._rows(context, batch))
        return self._functions["sample"].call(*arguments).reshape(*batch, *self.event_shape)

    def _rows(self, context: jax.Array, batch: tuple[int, ...]) -> jax.Array:
        dtype = self._functions["sample"].in_avals[-1].dtype
        assert self.context_shape is not None
        rows = jnp.broadcast_to(context, (*batch, *self.context_shape)).astype(dtype)
        return rows.reshape(math.prod(batch), *self.context_shape)


def load_exported(path: str | pathlib.Path) -> ExportedDensity:
    """Read the folder that `export` wrote; the code of the model is not needed.

    Raises:
      FileNotFoundError: no exported model at ``path``.
      RuntimeError: a file is missing, truncated or altered; the message names it.
      ValueError: another format.
    """
    path = pathlib.Path(path).absolute()
    if not (path / DESCRIPTION).exists():
        raise FileNotFoundError(
            f"{path} is not an exported model: {path / DESCRIPTION} is missing."
        )
    damage = find_damage(path)
    if damage is not None:
        raise RuntimeError(f"exported model {path} is damaged: {damage.what}.")
    description = json.loads((path / DESCRIPTION).read_text())
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{path}: expected the format {FORMAT}, got {description.get('format')}; read it with the version of "
            f"dgmjax that wrote it."
        )
    return ExportedDensity(path, description)


def _key_data(seed: jax.Array, num: int) -> jax.Array:
    keys = seed.reshape(num) if seed.ndim else jax.random.split(seed, num)
    return jax.random.key_data(keys)
