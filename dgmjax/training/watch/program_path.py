"""Where an operation stands in a program: its layer, its line, and whether it is part of a gradient."""

import os
import re
from typing import Any

import flax
from jax.extend import source_info_util

_REMAT_SCOPES = ("checkpoint", "rematted_computation")
_FLAX = os.path.dirname(flax.__file__) + os.sep
_HERE = os.path.dirname(__file__) + os.sep

# From the outside in: equations of jaxprs, and names of steps of scans and loops.
ProgramPath = tuple[Any, ...]


def _names(path: ProgramPath) -> list[str]:
    parts = (part if isinstance(part, str) else str(part.source_info.name_stack) for part in path)
    return "/".join(parts).split("/")


def in_gradient(path: ProgramPath) -> bool:
    """Whether the operation is part of a gradient.

    By the outermost differentiation: layers may differentiate in their own forward pass.
    """
    transforms = (re.match(r"(\w+\()*", name) for name in _names(path))
    outer = [m[0] for m in transforms if m and re.search(r"jvp\(|transpose\(", m[0])]
    return bool(outer) and "transpose(" in outer[0]


def layer_of(path: ProgramPath) -> str:
    """The names of `jax.named_scope` on the way, without the transformations, joined by ``" > "``."""
    layers: list[str] = []
    for name in _names(path):
        while match := re.fullmatch(r"(?:jvp|transpose|vmap)\((.*)\)", name):
            name = match[1]
        if name.startswith("[") and layers:
            layers[-1] += name
        elif name and name not in _REMAT_SCOPES:
            layers.append(name)
    return " > ".join(layers)


def source_of(path: ProgramPath) -> str:
    """``"directory/file.py:line (function)"`` of the innermost frame outside of Flax and of this room.

    What JAX jits itself, e.g. ``jnp.where``, has no frames inside: then that of the operation around it.
    """
    for eqn in reversed([part for part in path if not isinstance(part, str)]):
        # Outermost first; 1000 frames are all of them.
        frames = source_info_util.summarize(eqn.source_info, num_frames=1000).splitlines()
        for frame in reversed(frames):
            match = re.fullmatch(r"(.*?):(\d+)(?::\d+)? \((.*)\)", frame)
            if match and not match[1].startswith((_FLAX, _HERE)):
                file = "/".join(match[1].replace(os.sep, "/").split("/")[-2:])
                return f"{file}:{match[2]} ({match[3]})"
    return ""
