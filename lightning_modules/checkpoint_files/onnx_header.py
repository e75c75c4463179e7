"""Reads names and shapes out of an ONNX file, without onnx and without running anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Field numbers of onnx.proto, which every version of ONNX keeps.
_IR, _PRODUCER, _GRAPH = 1, 2, 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_TYPES = {1: "float32", 2: "uint8", 10: "float16", 11: "float64", 16: "bfloat16"}


class Value(NamedTuple):
    """An input or output of the graph; a dimension that the file leaves open is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class OnnxHeader:
    """What an ONNX file says of itself.

    Args:
        producer: the program that wrote it.
        inputs: of the graph, weights not among them.
        outputs: of the graph.
        nodes: number of operations.
        parameters: numbers in its weights.
    """

    producer: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: int
    parameters: int


def looks_like_onnx(path: Path) -> bool:
    """Whether a file is a protocol buffer with a version and a graph where ONNX has them."""
    try:
        return {_IR, _GRAPH} <= {n for n, _ in _outer(path, ())}
    except ValueError:
        return False


def read_onnx_header(path: Path) -> OnnxHeader:
    """Reads the header.

    Raises:
        ValueError: the file is cut off or no ONNX file.
    """
    fields = dict(_outer(path, (_PRODUCER, _GRAPH)))
    if not {_IR, _GRAPH} <= {*fields}:
        raise ValueError("it has no graph")
    parts: dict[int, list[bytes]] = {}
    for number, _, content in _fields(fields[_GRAPH]):
        parts.setdefault(number, []).append(content)
    weights = [_tensor(message) for message in parts.get(_INITIALIZER, [])]
    stored = {name for name, _ in weights}
    inputs = [_value(message) for message in parts.get(_INPUT, [])]
    return OnnxHeader(
        producer=fields.get(_PRODUCER, b"").decode(errors="replace"),
        inputs=tuple(value for value in inputs if value.name not in stored),
        outputs=tuple(_value(message) for message in parts.get(_OUTPUT, [])),
        nodes=len(parts.get(_NODE, [])),
        parameters=sum(size for _, size in weights),
    )


def _outer(path: Path, wanted: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    """Fields of the outermost message; the content of others than `wanted` is skipped."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            head = file.read(20)
            key, start = _varint(head, 0)
            number, wire = key >> 3, key & 7
            if not 1 <= number <= 64 or wire not in (0, 2):  # ONNX has no others
                raise ValueError("it is no ONNX file")
            length, end = _varint(head, start)
            file.seek(end - len(head), os.SEEK_CUR)
            if wire == 2 and file.tell() + length > size:
                raise ValueError("it is cut off")
            content = file.read(length) if wire == 2 and number in wanted else b""
            if wire == 2 and number not in wanted:
                file.seek(length, os.SEEK_CUR)
            yield number, content


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, value and content of every field; a number has no content."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        value, size = 0, {1: 8, 5: 4}.get(wire, 0)
        if wire in (0, 2):
            value, position = _varint(message, position)
            size = value if wire == 2 else 0
        yield number, value, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("it is cut off")
        byte = message[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
    raise ValueError("it is no ONNX file")


def _child(message: bytes, number: int) -> bytes:
    return next((content for n, _, content in _fields(message) if n == number), b"")


def _tensor(message: bytes) -> tuple[str, int]:
    """Name and size of a TensorProto, whose dimensions may be packed or one by one."""
    size = 1
    for number, value, content in _fields(message):
        if number != 1:
            continue
        position = 0
        while position < len(content):
            value, position = _varint(content, position)
            size *= value
        size *= 1 if content else value
    return _child(message, 8).decode(errors="replace"), size


def _value(message: bytes) -> Value:
    """A ValueInfoProto: its name, and the element type and shape of its tensor type."""
    tensor = _child(_child(message, 2), 1)
    kind = next((value for number, value, _ in _fields(tensor) if number == 1), 0)
    dims = [content for number, _, content in _fields(_child(tensor, 2)) if number == 1]
    shape = tuple(next((v for n, v, _ in _fields(dim) if n == 1), None) for dim in dims)
    return Value(_child(message, 1).decode(errors="replace"), shape, _TYPES.get(kind, "other"))
