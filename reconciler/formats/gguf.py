"""GGUF headers (versions 2 and 3, little-endian), read with bounds: metadata and tensors, never their data.

Source: ggml's docs/gguf.md; what is refused is what ggml's own reader refuses. gguf-py's GGUFReader
is not used: it maps the whole file, takes seconds for a vocabulary, and a hostile count stops it for ever.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.formats.ggml_types import TENSOR_TYPES
from reconciler.formats.header_bytes import LENGTH, HeaderBytes, HeaderError, ReadAt

MAGIC = b"GGUF"
VERSIONS = (2, 3)

MAX_KEYS = 65_536
MAX_TENSORS = 65_536
# Ten times what the largest models of either kind have.
MAX_KEY_BYTES = 65_535  # ggml's own limit
MAX_TENSOR_NAME_BYTES = 1024  # ggml allows 63
MAX_TEXT_BYTES = 256 * 1024
# A chat template takes up to 50 KiB; longer texts are embedded files, which nobody asks a header for.
MAX_ARRAY_TEXTS = 2**21
# In all arrays together: the largest vocabularies have 0.3 million tokens and 0.5 million merges.
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**63
DEFAULT_ALIGNMENT = 32

_U32 = struct.Struct("<I")
_TEXT, _ARRAY = 8, 9
_SCALARS: Mapping[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: _U32,
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: LENGTH,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
"""By the number of the metadata type; texts are 8, arrays 9."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A metadata value that was passed over: an array of `count` elements, or a text of `count` bytes."""

    count: int


MetadataValue = int | float | bool | str | Skipped


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor, as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """As in the file: the dimension that varies fastest first."""
    type_id: int
    offset: int
    """From the beginning of the data."""

    @property
    def type_name(self) -> str:
        """What ggml calls its type, such as `Q4_K`; `type 99` for one that is not known."""
        known = TENSOR_TYPES.get(self.type_id)
        return known.name if known is not None else f"type {self.type_id}"

    @property
    def size_bytes(self) -> int | None:
        """How many bytes its data takes; None if its type is not known."""
        known = TENSOR_TYPES.get(self.type_id)
        if known is None:
            return None
        return math.prod(self.shape) // known.block_elements * known.block_bytes


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything before the data."""

    version: int
    metadata: Mapping[str, MetadataValue]
    """In the order of the file."""
    tensors: tuple[GgufTensor, ...]
    data_offset: int
    """Where the data begins, aligned."""

    @property
    def architecture(self) -> str | None:
        """`general.architecture`; None if it is not there."""
        found = self.metadata.get("general.architecture")
        return found if isinstance(found, str) else None


def read_gguf(read: ReadAt, size_bytes: int | None = None) -> GgufHeader:
    """The header of the GGUF file that `read` reads; with `size_bytes` its data is checked to be inside the file.

    Raises HeaderError for anything that ggml would not load, and for what is larger than any real header.
    """
    source = HeaderBytes(read)
    version = _version(source)
    tensor_count = _count(source, "the number of tensors", MAX_TENSORS)
    key_count = _count(source, "the number of metadata keys", MAX_KEYS)
    metadata = _metadata(source, key_count)
    alignment = _alignment(metadata)
    tensors = _tensors(source, tensor_count, alignment)
    header = GgufHeader(version, metadata, tensors, -(-source.position // alignment) * alignment)
    if size_bytes is not None:
        _check_data(header, size_bytes)
    return header


def _version(source: HeaderBytes) -> int:
    magic = source.take(4, "the magic")
    if magic != MAGIC:
        raise HeaderError(f"the magic at byte 0: wanted {MAGIC!r}, got {magic!r}")
    version = source.number(_U32, "the version")
    if version not in VERSIONS:
        if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
            raise HeaderError("the version at byte 4: the file is big-endian; only little-endian GGUF can be read")
        raise HeaderError(f"the version at byte 4: wanted 2 or 3, got {version}")
    return version


def _count(source: HeaderBytes, what: str, most: int) -> int:
    at = source.position
    found = source.number(LENGTH, what)
    if found > most:
        raise HeaderError(f"{what} at byte {at}: at most {most} are read, got {found}")
    return found


# ---- metadata ----------------------------------------------------------------------------------


def _metadata(source: HeaderBytes, count: int) -> Mapping[str, MetadataValue]:
    found: dict[str, MetadataValue] = {}
    texts_left = MAX_ARRAY_TEXTS
    for place in range(count):
        at = source.position
        key = _name(source, f"metadata key {place}", MAX_KEY_BYTES)
        if key in found:
            raise HeaderError(f"metadata key {key!r} at byte {at}: it is there twice")
        kind = source.number(_U32, f"the type of {key!r}")
        if kind == _ARRAY:
            found[key], texts = _skip_array(source, key, texts_left)
            texts_left -= texts
        elif kind == _TEXT:
            found[key] = _text(source, key)
        elif kind in _SCALARS:
            found[key] = source.number(_SCALARS[kind], repr(key))
        else:
            raise HeaderError(f"metadata key {key!r} at byte {at}: unknown type {kind}")
    return found


def _name(source: HeaderBytes, what: str, most: int) -> str:
    at = source.position
    data = source.take(_count(source, f"the length of {what}", most), what)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise HeaderError(f"{what} at byte {at}: not UTF-8") from error


def _text(source: HeaderBytes, key: str) -> str | Skipped:
    size = source.number(LENGTH, f"the length of {key!r}")
    if size > MAX_TEXT_BYTES:
        source.skip(size, repr(key))
        return Skipped(size)
    return source.take(size, repr(key)).decode(errors="replace")  # a description with a bad byte harms nobody


def _skip_array(source: HeaderBytes, key: str, texts_left: int) -> tuple[Skipped, int]:
    """(what was passed over, how many texts were in it)."""
    at = source.position
    kind = source.number(_U32, f"the element type of {key!r}")
    count = source.number(LENGTH, f"the length of {key!r}")
    if kind in _SCALARS:
        source.skip(count * _SCALARS[kind].size, repr(key))
        return Skipped(count), 0
    if kind != _TEXT:
        what = "arrays of arrays are not read" if kind == _ARRAY else f"unknown element type {kind}"
        raise HeaderError(f"metadata key {key!r} at byte {at}: {what}")
    if count > texts_left:
        raise HeaderError(f"metadata key {key!r} at byte {at}: at most {MAX_ARRAY_TEXTS} texts are read, got {count}")
    source.skip_texts(count, f"a text of {key!r}")
    return Skipped(count), count


def _alignment(metadata: Mapping[str, MetadataValue]) -> int:
    found = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(found, bool) or not isinstance(found, int) or found <= 0 or found & (found - 1):
        raise HeaderError(f"metadata key 'general.alignment': wanted a power of two, got {found!r:.40}")
    return found


# ---- tensors -----------------------------------------------------------------------------------


def _tensors(source: HeaderBytes, count: int, alignment: int) -> tuple[GgufTensor, ...]:
    found: dict[str, GgufTensor] = {}
    for place in range(count):
        at = source.position
        tensor = _tensor(source, place)
        if tensor.name in found:
            raise HeaderError(f"tensor {tensor.name!r} at byte {at}: it is there twice")
        if tensor.offset % alignment:
            raise HeaderError(f"tensor {tensor.name!r} at byte {at}: offset {tensor.offset} is not on {alignment}")
        found[tensor.name] = tensor
    return tuple(found.values())


def _tensor(source: HeaderBytes, place: int) -> GgufTensor:
    name = _name(source, f"the name of tensor {place}", MAX_TENSOR_NAME_BYTES)
    at = source.position
    dimensions = source.number(_U32, f"the number of dimensions of {name!r}")
    if dimensions > MAX_DIMENSIONS:
        raise HeaderError(f"tensor {name!r} at byte {at}: wanted at most {MAX_DIMENSIONS} dimensions, got {dimensions}")
    shape = tuple([source.number(LENGTH, f"a dimension of {name!r}") for _ in range(dimensions)])
    if math.prod(shape) >= MAX_ELEMENTS:
        raise HeaderError(f"tensor {name!r} at byte {at}: {_by(shape)} is more than any machine can address")
    type_id = source.number(_U32, f"the type of {name!r}")
    tensor = GgufTensor(name, shape, type_id, source.number(LENGTH, f"the offset of {name!r}"))
    known = TENSOR_TYPES.get(type_id)
    row = shape[0] if shape else 1
    if known is not None and row % known.block_elements:
        raise HeaderError(f"tensor {name!r} at byte {at}: rows of {row} are no whole blocks of {known.name}")
    return tensor


def _check_data(header: GgufHeader, size_bytes: int) -> None:
    for tensor in header.tensors:
        end = header.data_offset + tensor.offset + (tensor.size_bytes or 0)
        if end > size_bytes:
            raise HeaderError(f"tensor {tensor.name!r}: its data ends at byte {end}, the file at {size_bytes}")


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(str(length) for length in shape)
