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

    Randomness belongs to examples (`dgmjax.numerics.prng.example_keys`), so that neither the strategy nor the number
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
        if self.num_devices is not None and jax.process_count() > 1:
            raise ValueError("num_devices: several processes use all their devices; leave it out.")
        if self.fsdp < 1 or len(self.devices) % self.fsdp:
            raise ValueError(
                f"fsdp={self.fsdp} must divide the number of devices, {len(self.devices)}."
            )
        if self.strategy == "pmap" and jax.process_count() > 1:
            raise ValueError(
                "strategy='pmap' runs in one process; use 'jit' or 'shard_map' for several."
            )

    @classmethod
    def for_batch(cls, batch_size: int, accumulate: int = 1) -> Self:
        """As many devices as divide ``batch_size / accumulate``; all of them where several processes take part."""
        if jax.process_count() > 1:
            return cls()
        return cls(num_devices=math.gcd(max(batch_size // accumulate, 1), jax.device_count()))

    @property
    def devices(self) -> list[jax.Device]:
        """The devices in use, those of a process next to each other."""
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        return devices[: self.num_devices]

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices as ``(data, fsdp)``."""
        grid = np.asarray(self.devices).reshape(-1, self.fsdp)
        # Auto: the compiler chooses where XLA has a choice; explicit axes refuse ambiguous programs.
        return Mesh(grid, (AXIS, "fsdp"), axis_types=(AxisType.Auto, AxisType.Auto))

    def check_batch_size(self, batch_size: int, accumulate: int = 1) -> None:
        """Raises ValueError unless every device gets equally many rows in each of ``accumulate`` parts."""
        count = len(self.devices)
        if batch_size % (count * accumulate):
            nearest = max(round(batch_size / (count * accumulate)), 1) * count * accumulate
            parts = "" if accumulate == 1 else f" times {accumulate} parts"
            fewer = "devices" if accumulate == 1 else "devices or parts (accumulate)"
            raise ValueError(
                f"batch_size {batch_size} does not divide by {count} devices{parts}; use {nearest}, or fewer {fewer}."
            )

    def place_state(self, state: Any) -> Any:
        """``state`` where the step wants it: replicated, or split over ``fsdp``; every process passes the whole."""
        if self._alone:
            return state
        return jax.tree.map(lambda leaf: _spread(leaf, self._state_sharding(leaf)), state)

    def place_batch(self, batch: dict[str, Any], *, stacked: bool = False) -> dict[str, Any]:
        """Rows spread over the devices; every process passes its own, see `dgmjax.data.Batches`.

        With ``stacked``, rows lie on the second axis.
        """
        if self._alone:
            return batch
        if self.strategy == "pmap":
            return {name: self._by_device(rows, stacked) for name, rows in batch.items()}
        sharding = self.batch_sharding(stacked=stacked)
        if jax.process_count() == 1:
            return jax.device_put(batch, sharding)
        return {
            name: jax.make_array_from_process_local_data(sharding, rows)
            for name, rows in batch.items()
        }

    def batch_sharding(self, *, stacked: bool = False) -> NamedSharding:
        """Rows over all devices, in the order of `devices`."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * stacked, (AXIS, "fsdp")))

    def replicate(self, tree: Any) -> Any:
        """A copy of ``tree`` on every device; every process passes the same."""
        sharding = NamedSharding(self.mesh, PartitionSpec())
        if self._alone:
            return jax.device_put(tree, self.devices[0])
        return jax.tree.map(lambda leaf: _spread(leaf, sharding), tree)

    def gather(self, tree: Any) -> Any:
        """The whole of what `place_state` placed, on the first device of this process; all processes call it."""
        if self._alone:
            return tree
        if jax.process_count() > 1:
            tree = jax.tree.map(lambda leaf: leaf.addressable_data(0), self._replicated(tree))
        return jax.device_put(tree, jax.local_devices()[0])

    @functools.cached_property
    def _replicated(self) -> Callable[[Any], Any]:
        sharding = NamedSharding(self.mesh, PartitionSpec())
        return jax.jit(lambda leaves: leaves, out_shardings=sharding)

    def _by_device(self, rows: np.ndarray, stacked: bool) -> np.ndarray:  # noqa: FBT001
        """Devices on a first axis, as pmap wants it."""
        count = len(self.devices)
        if not stacked:
            return rows.reshape(count, -1, *rows.shape[1:])
        return rows.reshape(len(rows), count, -1, *rows.shape[2:]).swapaxes(0, 1)

    def compile(
        self, step: Callable[..., Any], device_step: Callable[..., Any], *, stacked: bool = False
    ) -> Callable[..., Any]:
        """Jit ``step(state, batch)``, or spread ``device_step``, which averages over the axis `AXIS`; donates state.

        With ``stacked``, rows lie on the second axis of the batch.
        """
        if self._alone:
            return jax.jit(step, donate_argnums=0)
        if self.strategy == "jit":

            def global_step(state: Any, batch: Any) -> Any:
                state, metrics = step(state, batch)
                # The state stays where it is, so that the second call finds the program of the first.
                constrain = jax.lax.with_sharding_constraint
                return jax.tree.map(
                    lambda leaf: constrain(leaf, self._state_sharding(leaf)), state
                ), metrics

            return jax.jit(global_step, donate_argnums=0)
        if self.strategy == "shard_map":
            spread = jax.shard_map(
                device_step,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(*[None] * stacked, AXIS)),
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


def _spread(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """``leaf``, of which every process has the whole, over the devices of ``sharding``."""
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    # `device_put` would send everything around to compare it.
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
