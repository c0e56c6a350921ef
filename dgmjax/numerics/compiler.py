"""What the library asks of the compiler before JAX starts."""

import os
import sys
import warnings
from importlib import metadata

# Both compile sums over the last axis of products with an operand that is broadcast along the first one to code that is
# wrong beyond 32,768 results (float32; 16,384 in float64) on the CPU: https://github.com/jax-ml/jax/issues/39103.
_WRONG_SUMS = ("0.10.2", "0.11.0")
_OPTION = "--xla_cpu_experimental_ynn_fusion_type"


def avoid_wrong_sums(version: str | None = None) -> None:
    """Keep XLA's CPU backend from a routine for sums that some releases get wrong, silently.

    Adds an option to the environment variable ``XLA_FLAGS``, which JAX reads before its first computation and not
    again; where JAX has computed already, a warning says that it comes too late. Other releases, and a setting of that
    option by the user, are left as they are. Called when `dgmjax` is imported.

    Args:
      version: of jaxlib; by default the installed one.

    Warns:
      UserWarning: JAX runs on the CPU, and has started without the option.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    version = metadata.version("jaxlib") if version is None else version
    if version in _WRONG_SUMS and _OPTION not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_OPTION}=-reduce".strip()
        if _runs_on_cpu():
            warnings.warn(
                f"JAX has computed before dgmjax was imported, so XLA of jaxlib {version} gets some sums wrong on the "
                f"CPU, by as much as the numbers themselves (https://github.com/jax-ml/jax/issues/39103). Import "
                f"dgmjax before the first computation, or start Python with XLA_FLAGS={_OPTION}=-reduce.",
                UserWarning,
                stacklevel=3,
            )


def _runs_on_cpu() -> bool:
    """Whether JAX has started already, with the CPU as its default; without starting it."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    # JAX has no public name for this. A release without these two is not known to be wrong.
    started = getattr(
        bridge, "backends_are_initialized", lambda: bool(getattr(bridge, "_backends", ()))
    )
    if not started():
        return False
    import jax

    return jax.default_backend() == "cpu"
