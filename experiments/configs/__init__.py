"""One file a result, or a suite of them: what it reproduces, the command, the expected number and the cost."""

import difflib
import functools
import importlib
import pkgutil

from experiments.settings.config import Config


def config_names() -> list[str]:
    """Every config: one a file of ``experiments/configs``, and those of its suites."""
    return sorted(_configs())


def load_config(name: str) -> Config:
    """The config called ``name``.

    Raises:
      ValueError: unknown name; the message lists the nearest.
    """
    configs = _configs()
    if name not in configs:
        near = difflib.get_close_matches(name, configs, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"unknown config {name!r}; {hint}Known configs: {', '.join(configs)}.")
    return configs[name]


@functools.cache
def _configs() -> dict[str, Config]:
    found: dict[str, Config] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found |= getattr(module, "CONFIGS", None) or {info.name: module.CONFIG}
    return found
