"""A model as a table: its modules, the shapes they put out, and where its parameters are."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import distrax
import jax
import numpy as np
from flax import nnx

_WIDTH = 100
_WIDEST = {"kind": 28, "output": 20}
_GAP, _TIMES = "  ", " x "
_DISTRAX = distrax.Distribution | distrax.Bijector


@dataclasses.dataclass
class _Row:
    """One line: of a module with all that is in it, or of a parameter beside modules."""

    level: int
    name: str
    kind: str
    output: str = "-"
    count: int = 0
    size: int = 0


class Module(nnx.Module):
    """A module whose ``repr`` is its `summary`, without the arrays.

    Attributes:
      is_stack: the part stands for ``num_layers`` of its kind.
      is_container: no row of its own; what is inside belongs to the module above.
    """

    is_stack = False
    is_container = False

    def __repr__(self) -> str:
        """The table of `summary`."""
        return summary(self)

    __str__ = __repr__


def summary(model: nnx.Module, *, depth: int = 6) -> str:
    """A text table of ``model``, one row a submodule, at most 100 characters wide.

    Columns: ``layer``, the attribute of the module above, indented by the level; ``type``; ``output``, the shape of one
    event, without batch axes (of a bijector, on the data side), or ``-`` where the module does not tell; ``parameters``
    and ``memory``, the number and bytes of the ``nnx.Param`` in the module and all that is inside.

    The rows without rows below them add up to the total; what two modules share shows and counts in the first. A
    `dgmjax.Stack` shows its layer once, as ``x n``; that row and those below it count all ``n``. Arrays that no
    optimizer changes, such as those of `dgmjax.layers.Standardize`, are counted in the last line.

    Abstract models are fine, so a model need not fit into memory: ``summary(jax.eval_shape(make_model))``.

    Args:
      model: any ``nnx.Module``.
      depth: levels below the model to show, 0 or more.

    Raises:
      ValueError: negative ``depth``.
    """
    if depth < 0:
        raise ValueError(f"summary: depth must be 0 or more, got {depth}.")
    rows = _rows(model, "model", type(model).__name__, 0, {id(model)})
    fixed = _Row(0, "fixed arrays", "", "", *_extent(_fixed(model)))
    total = _Row(0, "parameters", "", "", rows[0].count, rows[0].size)
    shown = [row for row in rows if row.level <= depth]
    lines = _table(shown, [total, fixed])
    if any(_TIMES in row.kind for row in shown):
        lines.append("Rows with `x n`, and those below them, count all n layers of a Stack.")
    if len(shown) < len(rows):
        lines.append(f"depth={max(row.level for row in rows)} shows the modules inside, too.")
    return "\n".join(lines)


def _rows(module: Any, name: str, kind: str, level: int, seen: set[int]) -> list[_Row]:
    """The row of ``module`` and those below it."""
    own = _Row(level, name, kind, _output(module))
    params: list[_Row] = []
    modules: list[list[_Row]] = []
    for part_name, part in _parts(module):
        if id(part) in seen:
            continue
        seen.add(id(part))
        part_kind = type(part).__name__
        if isinstance(part, nnx.Param):
            extent = _extent(jax.tree.leaves(part))
            params.append(_Row(level + 1, part_name, part_kind, "-", *extent))
        elif isinstance(part, nnx.Module):
            if getattr(module, "is_stack", False):
                part_kind = f"{part_kind}{_TIMES}{module.num_layers}"
            modules.append(_rows(part, part_name, part_kind, level + 1, seen))
    for below in [*params, *(rows[0] for rows in modules)]:
        own.count, own.size = own.count + below.count, own.size + below.size
    # Parameters get rows where modules stand beside them, so that the rows still add up.
    return [own, *(params if modules else []), *(row for rows in modules for row in rows)]


def _parts(module: Any) -> Iterator[tuple[str, Any]]:
    """Modules and variables held by ``module``, also in lists, dicts and other pytrees, under their names."""
    for attribute, value in sorted(vars(module).items()):
        for path, part in jax.tree.leaves_with_path(value, is_leaf=_is_part):
            yield attribute + "".join(_entry(entry) for entry in path), part


def _is_part(value: Any) -> bool:
    container = isinstance(value, nnx.List | nnx.Dict) or getattr(value, "is_container", False)
    return isinstance(value, nnx.Variable | nnx.Module) and not container


def _entry(entry: Any) -> str:
    for attribute in ("idx", "key", "name"):
        if hasattr(entry, attribute):
            name = str(getattr(entry, attribute))
            return f"[{name}]" if name.isdigit() else f".{name}"
    return str(entry)


def _output(module: Any) -> str:
    for attribute in ("event_shape", "out_shape"):
        shape = getattr(module, attribute, None)
        if isinstance(shape, tuple):
            return str(shape)
    if isinstance(module, nnx.Linear):
        return f"({module.out_features},)"
    if isinstance(module, nnx.Conv | nnx.ConvTranspose):
        return f"(..., {module.out_features})"
    return "-"


def _fixed(value: Any) -> Iterator[Any]:
    """The arrays of ``value`` that are no parameters."""
    for part in jax.tree.leaves(value, is_leaf=lambda v: isinstance(v, nnx.Param | _DISTRAX)):
        if isinstance(part, _DISTRAX):  # whose pytrees hide the arrays of abstract models
            yield from _fixed(vars(part))
        elif isinstance(part, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
            yield part


def _extent(leaves: Iterable[Any]) -> tuple[int, int]:
    """Number of elements, and their bytes."""
    count = size = 0
    for leaf in leaves:
        if not hasattr(leaf, "dtype"):  # of a model whose leaves are no arrays, such as shardings
            continue
        elements = math.prod(np.shape(leaf))
        count, size = count + elements, size + elements * leaf.dtype.itemsize
    return count, size


def _table(rows: list[_Row], totals: list[_Row]) -> list[str]:
    header = ("layer", "type", "output", "parameters", "memory")
    cells = [header, *(_cells(row) for row in [*rows, *totals])]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    widths[1] = min(widths[1], _WIDEST["kind"])
    widths[2] = min(widths[2], _WIDEST["output"])
    widths[0] = min(widths[0], _WIDTH - sum(widths[1:]) - 4 * len(_GAP))
    lines = [_line(line, widths) for line in cells]
    rule = "-" * (sum(widths) + 4 * len(_GAP))
    end = len(lines) - len(totals)
    return [lines[0], rule, *lines[1:end], rule, *lines[end:]]


def _cells(row: _Row) -> tuple[str, ...]:
    name = "  " * row.level + row.name
    return name, row.kind, row.output, f"{row.count:,}", _memory(row.size)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    left = [_cut(cell, width).ljust(width) for cell, width in zip(cells[:3], widths, strict=False)]
    right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
    return _GAP.join([*left, *right])


def _cut(text: str, width: int) -> str:
    """``text``, or its two ends with ``...`` between."""
    if len(text) <= width:
        return text
    tail = (width - 3) // 2
    return f"{text[: width - 3 - tail]}...{text[len(text) - tail :]}"


def _memory(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
