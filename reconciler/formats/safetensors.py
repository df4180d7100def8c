"""Safetensors headers, read with bounds and checked as the reference implementation checks them.

Source: huggingface/safetensors, safetensors/src/tensor.rs (`Metadata::validate`): offsets of the
tensors, sorted, cover the data without gap or overlap, and each agrees with its type and shape.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.formats.header_bytes import HeaderBytes, HeaderError, ReadAt

MAX_HEADER_BYTES = 25_000_000
# huggingface_hub's limit; the reference implementation allows four times as much.
MAX_TENSORS = 65_536
MAX_PUNCTUATION = 16 * MAX_TENSORS
# Counted before parsing: this many brackets and commas are at most 150 MB of Python objects, whatever they nest.
_LENGTH_BYTES = 8
_MAX_NUMBER = 2**63

TYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


@dataclass(frozen=True, slots=True)
class SafeTensor:
    """One tensor, as the header describes it."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    """The dimension that varies slowest first."""
    begin: int
    """From the beginning of the data."""
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """Everything before the data."""

    metadata: Mapping[str, str]
    """`__metadata__`; empty if there is none."""
    tensors: tuple[SafeTensor, ...]
    """In the order of their data."""
    data_offset: int


def read_safetensors(read: ReadAt, size_bytes: int | None = None) -> SafetensorsHeader:
    """The header of the safetensors file that `read` reads; with `size_bytes` its data must fill the file exactly.

    Raises HeaderError for anything that the reference implementation refuses, and for what it lets
    pass but nobody writes: names given twice, space before the header, tensors described by lists.
    """
    source = HeaderBytes(read)
    length = int.from_bytes(source.take(_LENGTH_BYTES, "the header's length"), "little")
    if length > MAX_HEADER_BYTES:
        raise HeaderError(f"the header's length at byte 0: at most {MAX_HEADER_BYTES} bytes are read, got {length}")
    document = _parsed(source.take(length, "the header"))
    metadata = _metadata(document.pop("__metadata__", None))
    found = (_tensor(name, described) for name, described in document.items())
    tensors = tuple(sorted(found, key=lambda tensor: (tensor.begin, tensor.end)))
    header = SafetensorsHeader(metadata, tensors, _LENGTH_BYTES + length)
    _check_layout(header, size_bytes)
    return header


def _parsed(data: bytes) -> dict[str, object]:
    if not data.startswith(b"{"):
        raise HeaderError(f"the header at byte {_LENGTH_BYTES}: wanted a JSON object, got {data[:8]!r}")
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > MAX_PUNCTUATION:
        raise HeaderError(f"the header at byte {_LENGTH_BYTES}: it holds more values than {MAX_TENSORS} tensors have")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refused_constant)
    except HeaderError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"the header at byte {_LENGTH_BYTES}: it is not JSON in UTF-8 ({error})") from error
    assert isinstance(document, dict)  # it begins with {
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    for text in (*found, *found.values()):
        if isinstance(text, str):
            text.encode()  # raises ValueError for half of a surrogate pair, which is no text
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise HeaderError(f"{twice!r:.200} is there twice")
    return found


def _refused_constant(text: str) -> object:
    raise HeaderError(f"the header at byte {_LENGTH_BYTES}: {text} is not JSON")


def _metadata(found: object) -> Mapping[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise HeaderError("__metadata__: wanted an object of texts")
    return found


def _tensor(name: str, described: object) -> SafeTensor:
    if not isinstance(described, dict):
        raise HeaderError(f"tensor {name!r:.200}: wanted an object, got {described!r:.40}")
    type_name = described.get("dtype")
    if not isinstance(type_name, str) or type_name not in TYPE_BITS:
        raise HeaderError(f"tensor {name!r:.200}: unknown dtype {type_name!r:.40}")
    shape = _numbers(name, "shape", described.get("shape"))
    offsets = _numbers(name, "data_offsets", described.get("data_offsets"))
    if len(offsets) != 2:
        raise HeaderError(f"tensor {name!r:.200}: data_offsets: wanted two numbers, got {len(offsets)}")
    return SafeTensor(name, type_name, shape, *offsets)


def _numbers(name: str, key: str, found: object) -> tuple[int, ...]:
    if not isinstance(found, list):
        raise HeaderError(f"tensor {name!r:.200}: {key}: wanted a list, got {found!r:.40}")
    for number in found:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _MAX_NUMBER:
            raise HeaderError(f"tensor {name!r:.200}: {key}: wanted whole numbers, got {number!r:.40}")
    return tuple(found)


def _check_layout(header: SafetensorsHeader, size_bytes: int | None) -> None:
    position = 0
    for tensor in header.tensors:
        name = f"tensor {tensor.name!r:.200}"
        if tensor.begin != position or tensor.end < tensor.begin:
            raise HeaderError(f"{name}: wanted its data to begin at {position}, got {tensor.begin} to {tensor.end}")
        bits = _elements(tensor) * TYPE_BITS[tensor.type_name]
        if bits != 8 * (tensor.end - tensor.begin):
            wanted = f"{bits} bits for {tensor.type_name} {list(tensor.shape)!r:.60}"
            raise HeaderError(f"{name}: wanted {wanted}, got {tensor.end - tensor.begin} bytes")
        position = tensor.end
    end = header.data_offset + position
    if size_bytes is not None and end != size_bytes:
        raise HeaderError(f"the data: it ends at byte {end}, the file at {size_bytes}")


def _elements(tensor: SafeTensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
        if count >= _MAX_NUMBER:  # at once: the product of a hostile shape would take for ever
            raise HeaderError(f"tensor {tensor.name!r:.200}: its shape has more elements than any machine can address")
    return count
