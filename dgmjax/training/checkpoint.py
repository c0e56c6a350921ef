"""Checkpoints of a run: written atomically with Orbax, verified before they are read."""

import pathlib
import warnings
from typing import Any, NamedTuple

import jax

from dgmjax.training.manifest import Damage, find_damage, write_manifest


class Restored(NamedTuple):
    """What a checkpoint held: its step, the arrays, and the JSON progress."""

    step: int
    arrays: Any
    progress: dict[str, Any]


class Checkpoints:
    """The last checkpoints of a run, in ``directory/<step>/``.

    Orbax writes into a temporary directory and renames it, so a killed writer leaves no half checkpoint under a final
    name. A manifest with the size and SHA-256 of every file is added last: a checkpoint without one is unfinished,
    one that disagrees with it is damaged. Both are set aside, never deleted, when an older one is sound.

    Args:
      directory: made if missing.
      keep: how many to keep; at least 2, so that a damaged last one costs only the steps since the one before.
    """

    def __init__(self, directory: pathlib.Path, *, keep: int = 2):
        import orbax.checkpoint as ocp
        from orbax.checkpoint.checkpoint_managers import LatestN

        self._ocp = ocp
        self.directory = pathlib.Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=LatestN(max(keep, 2)),
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def save(self, step: int, arrays: Any, progress: dict[str, Any]) -> None:
        """Write a pytree of arrays and a JSON object as the checkpoint of ``step``."""
        args = self._ocp.args
        self._manager.save(
            step,
            args=args.Composite(arrays=args.StandardSave(arrays), progress=args.JsonSave(progress)),
            force=True,
        )
        write_manifest(self.directory / str(step))

    def restore(self, like: Any) -> Restored | None:
        """The newest sound checkpoint, or None if there is none at all.

        Args:
          like: a pytree of arrays with the structure, shapes and dtypes to restore.

        Warns when it falls back to an older one, or to none because the first write was not finished.

        Raises:
          RuntimeError: there are checkpoints, but all are damaged; they stay where they are.
        """
        unusable: list[tuple[pathlib.Path, Damage]] = []
        sound = None
        for step in sorted(self._manager.all_steps(), reverse=True):
            folder = self.directory / str(step)
            damage = find_damage(folder)
            if damage is None:
                sound = step
                break
            unusable.append((folder, damage))
        story = " ".join(f"Checkpoint {folder} is damaged: {d.what}." for folder, d in unusable)
        if sound is None and any(damage.finished for _, damage in unusable):
            raise RuntimeError(
                f"{story} No sound checkpoint is left in {self.directory}; restore one from a copy, or move this "
                f"folder away to start the run again."
            )
        if unusable:
            aside = [self._set_aside(folder) for folder, _ in unusable]
            self._manager.reload()
            then = "Starting again" if sound is None else f"Falling back to step {sound}"
            warnings.warn(
                f"{story} {then}; moved what was damaged to {aside[0].parent}.",
                RuntimeWarning,
                stacklevel=2,
            )
        return None if sound is None else self._read(sound, like)

    def close(self) -> None:
        """Release Orbax's threads."""
        self._manager.close()

    def _read(self, step: int, like: Any) -> Restored:
        args = self._ocp.args
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
        )
        restored = self._manager.restore(
            step,
            args=args.Composite(arrays=args.StandardRestore(abstract), progress=args.JsonRestore()),
        )
        return Restored(step, restored["arrays"], restored["progress"])

    def _set_aside(self, folder: pathlib.Path) -> pathlib.Path:
        target = self.directory.parent / "damaged_checkpoints" / folder.name
        target.parent.mkdir(exist_ok=True)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{folder.name}_{number}")
        folder.rename(target)
        return target
