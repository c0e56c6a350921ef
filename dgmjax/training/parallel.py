"""How a train step is spread over devices: one loss, three ways to run it."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, Self

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

Strategy = Literal["jit", "shard_map", "pmap"]
STRATEGIES: tuple[Strategy, ...] = ("jit", "shard_map", "pmap")
AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Parallel:
    """Data parallelism over devices; every strategy takes the same steps.

    - ``"jit"``: one program over a mesh with the axes ``data`` and ``fsdp``. Batches are split over both; the compiler
      inserts the communication. With ``fsdp > 1`` parameters, optimizer state and averages are split over that axis
      (fully sharded data parallelism), otherwise every device holds a copy.
    - ``"shard_map"``: every device computes the mean over its part of the batch, and gradients are averaged by
      ``lax.pmean``; the step is written once for all and sees its own part only.
    - ``"pmap"``: the same step under ``jax.pmap``, over the devices of one process.

    Randomness belongs to examples (`dgmjax.numerics.random.example_keys`), so that neither the strategy nor the number
    of devices changes what a run computes, up to the order of sums.

    Attributes:
      strategy: see above.
      fsdp: devices over which the state is split; divides their number. ``"jit"`` only.
      num_devices: how many to use, the first ones; None for all. All, where several processes take part.

    Raises:
      ValueError: a combination that does not exist.
    """

    strategy: Strategy = "jit"
    fsdp: int = 1
    num_devices: int | None = None

    def __post_init__(self) -> None:
        """Reject what cannot run, before anything is compiled."""
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy: expected one of {STRATEGIES}, got {self.strategy!r}.")
        if self.strategy != "jit" and self.fsdp != 1:
            raise ValueError(
                f"fsdp={self.fsdp} needs strategy='jit': with {self.strategy!r} every device holds a copy of the state."
            )
        if self.num_devices is not None and not 1 <= self.num_devices <= jax.device_count():
            raise ValueError(
                f"num_devices: expected 1 to {jax.device_count()} (the devices JAX sees), got {self.num_devices}."
            )
        if self.fsdp < 1 or len(self.devices) % self.fsdp:
            raise ValueError(
                f"fsdp={self.fsdp} must divide the number of devices, {len(self.devices)}."
            )
        if self.strategy == "pmap" and jax.process_count() > 1:
            raise ValueError(
                "strategy='pmap' runs in one process; use 'jit' or 'shard_map' for several."
            )

    @classmethod
    def for_batch(cls, batch_size: int) -> Self:
        """As many devices as divide ``batch_size``; all of them where several processes take part."""
        if jax.process_count() > 1:
            return cls()
        return cls(num_devices=math.gcd(batch_size, jax.device_count()))

    @property
    def devices(self) -> list[jax.Device]:
        """The devices in use."""
        return jax.devices()[: self.num_devices]

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices as ``(data, fsdp)``."""
        grid = np.asarray(self.devices).reshape(-1, self.fsdp)
        # Auto: the compiler chooses where XLA has a choice; explicit axes refuse ambiguous programs.
        return Mesh(grid, (AXIS, "fsdp"), axis_types=(AxisType.Auto, AxisType.Auto))

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ValueError unless every device gets equally many rows."""
        if batch_size % len(self.devices):
            count = len(self.devices)
            nearest = max(round(batch_size / count), 1) * count
            raise ValueError(
                f"batch_size {batch_size} does not divide by {count} devices; use {nearest}, or fewer devices."
            )

    def place_state(self, state: Any) -> Any:
        """``state`` where the step wants it: replicated, or split over ``fsdp``."""
        if self._alone:
            return state
        return jax.tree.map(lambda leaf: jax.device_put(leaf, self._state_sharding(leaf)), state)

    def place_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Rows of the batch spread over the devices; a process touches only the rows of its own devices."""
        if self._alone:
            return batch
        if self.strategy == "pmap":
            count = len(self.devices)
            return {name: a.reshape(count, -1, *a.shape[1:]) for name, a in batch.items()}
        sharding = NamedSharding(self.mesh, PartitionSpec((AXIS, "fsdp")))

        def spread(rows: Any) -> jax.Array:
            return jax.make_array_from_callback(rows.shape, sharding, lambda index: rows[index])

        return {name: spread(rows) for name, rows in batch.items()}

    def compile(
        self, step: Callable[..., Any], device_step: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Jit ``step(state, batch)``, or spread ``device_step``, which averages over the axis `AXIS`; donates state."""
        if self.strategy == "jit" or self._alone:
            return jax.jit(step, donate_argnums=0)
        if self.strategy == "shard_map":
            spread = jax.shard_map(
                device_step,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=PartitionSpec(),
                # Gradients of replicated parameters are local here and averaged by hand.
                check_vma=False,
            )
            return jax.jit(spread, donate_argnums=0)
        return jax.pmap(
            device_step,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None,
            devices=self.devices,
            donate_argnums=0,
        )

    @property
    def _alone(self) -> bool:
        return len(self.devices) == 1 and jax.process_count() == 1

    def _state_sharding(self, leaf: jax.Array) -> NamedSharding:
        """Split along the longest axis that divides, if any."""
        axes: list[str | None] = [None] * leaf.ndim
        dividing = [i for i, size in enumerate(leaf.shape) if size % self.fsdp == 0 and size > 1]
        if self.fsdp > 1 and dividing:
            axes[max(dividing, key=lambda i: leaf.shape[i])] = "fsdp"
        return NamedSharding(self.mesh, PartitionSpec(*axes))
