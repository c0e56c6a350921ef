"""Checkpoints of a run: written atomically with Orbax, verified before they are read."""

import pathlib
import shutil
import threading
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from dgmjax.training.distributed import agree, any_process, is_first, is_local
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

    Files are written by a thread from a copy in host memory, while training goes on. Where several processes take part,
    the directory is one they share; each writes what its devices hold, and all wait for it.

    Args:
      directory: made if missing.
      keep: how many to keep; at least 2, so that a damaged last one costs only the steps since the one before.

    Raises:
      OSError: the directory cannot be made or written to.
    """

    def __init__(self, directory: pathlib.Path, *, keep: int = 2):
        import orbax.checkpoint as ocp
        from orbax.checkpoint.checkpoint_managers import LatestN

        self._ocp = ocp
        self.directory = pathlib.Path(directory).absolute()
        agree(self._make_directory)
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None
        options = ocp.CheckpointManagerOptions(
            preservation_policy=LatestN(max(keep, 2)),
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def save(self, step: int, arrays: Any, progress: dict[str, Any]) -> None:
        """Begin to write a pytree of arrays and a JSON object as the checkpoint of ``step``.

        Raises:
          OSError: this or the one before could not be written, e.g. because the disk is full; older ones are intact.
        """
        self.wait()
        if jax.process_count() > 1:  # writers have to meet, which they do in the main thread
            self._write(step, arrays, progress)
            self.wait()
            return
        # Copies: the next step donates the arrays. On the CPU np.asarray would share their memory.
        copies = jax.tree.map(np.array, arrays)
        self._writer = threading.Thread(target=self._write, args=(step, copies, progress))
        self._writer.start()

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
          OSError: it could not be.
        """
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, step: int, arrays: Any, progress: dict[str, Any]) -> None:
        """Files, then the manifest; whatever goes wrong in one process is an error in all, which `wait` raises."""
        error: BaseException | None = None
        for part in (lambda: self._write_files(step, arrays, progress), lambda: self._seal(step)):
            try:
                part()
            except BaseException as raised:  # of a thread, which has nobody to tell
                error = raised
            if any_process(error is not None):
                break
        else:
            return
        for unfinished in self.directory.glob(f"{step}.orbax-checkpoint-tmp*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if error is not None and not isinstance(error, Exception):
            self._error = error
            return
        reason = "in another process" if error is None else str(error) or type(error).__name__
        self._error = OSError(
            f"the checkpoint of step {step} could not be written to {self.directory} "
            f"({reason.strip().splitlines()[0][:300]}); older ones are intact. Make room or permit writing, then the "
            f"same call continues from them."
        )
        self._error.__cause__ = error

    def _write_files(self, step: int, arrays: Any, progress: dict[str, Any]) -> None:
        args = self._ocp.args
        if jax.process_count() > 1:  # Orbax takes arrays that all have, and NumPy's of the first
            arrays = jax.tree.map(lambda leaf: np.asarray(leaf) if is_local(leaf) else leaf, arrays)
        both = args.Composite(arrays=args.StandardSave(arrays), progress=args.JsonSave(progress))
        self._manager.save(step, args=both, force=True)

    def _seal(self, step: int) -> None:
        if is_first():
            write_manifest(self.directory / str(step))

    def restore(self, like: Any) -> Restored | None:
        """The newest sound checkpoint, or None if there is none at all.

        Args:
          like: a pytree of arrays with the structure, shapes and dtypes to restore.

        Warns when it falls back to an older one, or to none because the first write was not finished.

        Raises:
          RuntimeError: there are checkpoints, but all are damaged; they stay where they are.
        """
        sound, moved = agree(self._choose)
        if moved:
            self._manager.reload()
        return None if sound is None else self._read(sound, like)

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OSError(f"checkpoints cannot be written to {self.directory}: {error}.") from error

    def _choose(self) -> tuple[int | None, bool]:
        """The newest sound step, and whether others were set aside for it."""
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
            then = "Starting again" if sound is None else f"Falling back to step {sound}"
            warnings.warn(
                f"{story} {then}; moved what was damaged to {aside[0].parent}.",
                RuntimeWarning,
                stacklevel=6,
            )
        return sound, bool(unusable)

    def abandon(self, error: BaseException) -> None:
        """Close after ``error``; if the last checkpoint could not be written either, that becomes a note to it."""
        try:
            self.close()
        except Exception as another:
            error.add_note(str(another))

    def close(self) -> None:
        """Finish what is being written, and release Orbax's threads."""
        try:
            self.wait()
        finally:
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
