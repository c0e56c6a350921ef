"""What a compiled program sends between devices, read from its HLO text."""

import math
import re
from typing import NamedTuple

_BITS = {
    "pred": 8, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "f16": 16, "bf16": 16, "s32": 32, "u32": 32,
    "f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64, "c128": 128,
}  # fmt: skip
_KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\w+\[[^ ]*) ([a-z][\w\-]*)\((.*)$"
)
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALLED = re.compile(
    r"(?:body|calls|to_apply|branch_computations|async_\w+)=\{?(%[^,}\s]*(?:, %[^,}\s]*)*)"
)


class Traffic(NamedTuple):
    """What one device does in one call.

    Attributes:
      bytes: results of the collectives by kind, e.g. ``{"all-reduce": 4_096}``.
      messages: how many of each kind are carried out; one may hold many arrays.
      product_flops: floating-point operations of its matrix products, where they are HLO ``dot``: not on GPUs.
    """

    bytes: dict[str, int]
    messages: dict[str, int]
    product_flops: int


class _Instruction(NamedTuple):
    name: str
    shape: str
    kind: str
    rest: str


def traffic(hlo: str) -> Traffic:
    """Collectives of the program ``compiled.as_text()``; what is in the body of a loop counts once for each trip.

    Of an asynchronous pair the start is counted, and of its results those that are not its operands.

    Raises:
      ValueError: a collective in a loop whose number of trips the compiler does not know, or text without an entry.
    """
    computations, entry = _parse(hlo)
    if entry is None:
        raise ValueError("expected the text of an HLO module, with a computation marked ENTRY.")
    total: dict[str, int] = {}
    messages: dict[str, int] = {}
    flops = 0

    def visit(name: str, times: int | None) -> None:
        nonlocal flops
        shapes = {i.name: i.shape for i in computations.get(name, [])}
        for instruction in computations.get(name, []):
            kind = instruction.kind.removesuffix("-start")
            if kind in _KINDS:
                if times is None:
                    raise ValueError(f"{instruction.name} is in a loop of unknown length.")
                total[kind] = total.get(kind, 0) + times * _result_bytes(instruction)
                messages[kind] = messages.get(kind, 0) + times
                continue
            if kind.endswith(("-done", "-update")):  # they name what their start has run
                continue
            if kind == "dot":
                flops += (times or 1) * _dot_flops(instruction, shapes)
            inner = times
            if kind == "while":
                trips = _TRIPS.search(instruction.rest)
                inner = None if trips is None or times is None else times * int(trips[1])
            for called in _CALLED.findall(instruction.rest):
                for computation in called.split(", "):
                    visit(computation.lstrip("%"), inner)

    visit(entry, 1)
    return Traffic(total, messages, flops)


def _parse(hlo: str) -> tuple[dict[str, list[_Instruction]], str | None]:
    computations: dict[str, list[_Instruction]] = {}
    current, entry = "", None
    for line in hlo.splitlines():
        line = re.sub(r"/\*.*?\*/", "", line)
        head = _COMPUTATION.match(line)
        if head:
            current = head[2]
            computations[current] = []
            entry = current if head[1] else entry
            continue
        found = _INSTRUCTION.match(line)
        if found and current:
            computations[current].append(_Instruction(*found.groups()))
    return computations, entry


def _result_bytes(instruction: _Instruction) -> int:
    arrays = _SHAPE.findall(instruction.shape)
    sizes = [math.prod(_dims(dims)) * _BITS[dtype] // 8 for dtype, dims in arrays]
    if instruction.kind in ("all-gather-start", "collective-permute-start"):
        operands = instruction.rest.partition(")")[0].count("%")
        sizes = sizes[operands : 2 * operands]  # then come counters of the device
    return sum(sizes)


def _dot_flops(instruction: _Instruction, shapes: dict[str, str]) -> int:
    _, out = _SHAPE.findall(instruction.shape)[0]
    left = shapes[re.findall(r"%([\w.\-]+)", instruction.rest)[0]]
    dims = _dims(_SHAPE.findall(left)[0][1])
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest)
    axes = _dims(contracted[1]) if contracted else []
    return 2 * math.prod(_dims(out)) * math.prod(dims[axis] for axis in axes)


def _dims(text: str) -> list[int]:
    return [int(size) for size in text.split(",") if size]
