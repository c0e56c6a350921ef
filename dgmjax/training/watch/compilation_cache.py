"""Compiled programs on disk, so that the second start of a run does not compile again."""

import os
import pathlib

import jax

from dgmjax.data.tfds.decoded import cache_dir


def use_compilation_cache(directory: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Keep compiled programs in ``directory`` and look there first; returns where.

    Without ``directory``, a place that was configured before (``JAX_COMPILATION_CACHE_DIR``) stays. Programs that
    compile in less than a second are not kept. The directory is safe to delete at any time.

    Args:
      directory: default ``$XDG_CACHE_HOME/dgmjax/xla``, by default ``~/.cache/dgmjax/xla``.
    """
    configured = getattr(jax.config, "jax_compilation_cache_dir", None)
    if directory is None and configured:
        return pathlib.Path(configured)
    if directory is None:
        directory = cache_dir("xla")
    jax.config.update("jax_compilation_cache_dir", str(directory))
    return pathlib.Path(directory)
