"""Safetensors headers: what is read, and what is refused by name."""

from __future__ import annotations

import struct

import pytest

from reconciler.formats import safetensors as module
from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.safetensors import SafeTensor, SafetensorsHeader, read_safetensors
from tests.unit.formats.headers import raw_safetensors, reader, safetensors

TWO = {"a": ("F32", (2,)), "b": ("F32", (2,))}


def read(data: bytes, size_bytes: int | None = None) -> SafetensorsHeader:
    return read_safetensors(reader(data), size_bytes)


def test_tensors_are_listed_in_the_order_of_their_data() -> None:
    document = {
        "__metadata__": {"format": "pt"},
        "late": {"dtype": "F16", "shape": [2, 3], "data_offsets": [4, 16]},
        "early": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [4, 4]},
    }
    data = raw_safetensors(document, 16)
    header = read(data, len(data))
    assert header.metadata == {"format": "pt"}
    assert header.data_offset == len(data) - 16
    assert header.tensors == (
        SafeTensor("early", "F32", (), 0, 4),
        SafeTensor("empty", "F32", (0, 7), 4, 4),
        SafeTensor("late", "F16", (2, 3), 4, 16),
    )


def test_the_header_may_be_padded_with_spaces() -> None:
    assert read(raw_safetensors(b'{"__metadata__":null}      ')).tensors == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the header's length at byte 0: wanted 8 bytes, the file ends before"),
        (struct.pack("<Q", 2**63), "the header's length at byte 0: at most 25000000 bytes are read"),
        (struct.pack("<Q", 100) + b"{", "the header at byte 8: wanted 100 bytes, the file ends at 9"),
        (raw_safetensors(b""), "the header at byte 8: wanted a JSON object, got b''"),
        (raw_safetensors(b"[1]"), "the header at byte 8: wanted a JSON object, got b'[1]'"),
        (raw_safetensors(b' {"a":1}'), "wanted a JSON object"),
        (raw_safetensors(b'{"a":'), "it is not JSON in UTF-8"),
        (raw_safetensors(b'{"\xff":1}'), "it is not JSON in UTF-8"),
        (raw_safetensors(b'{"a":' + b"[" * 100_000), "it is not JSON in UTF-8"),
        (raw_safetensors(b'{"a\\ud800":{}}'), "it is not JSON in UTF-8"),
        (raw_safetensors(b'{"a":NaN}'), "NaN is not JSON"),
        (raw_safetensors(b'{"a":{},"a":{}}'), "'a' is there twice"),
        (raw_safetensors({"a": 7}), "tensor 'a': wanted an object, got 7"),
        (raw_safetensors({"__metadata__": {"a": 1}}), "__metadata__: wanted an object of texts"),
        (raw_safetensors({"__metadata__": []}), "__metadata__: wanted an object of texts"),
        (safetensors({"a": ("F32", (2,))}, dtype="F33"), "tensor 'a': unknown dtype 'F33'"),
        (safetensors({"a": ("F32", (2,))}, dtype=None), "tensor 'a': unknown dtype None"),
        (safetensors({"a": ("F32", (2,))}, dtype=["F32"]), "tensor 'a': unknown dtype ['F32']"),
        (safetensors({"a": ("F32", (2,))}, shape=2), "tensor 'a': shape: wanted a list, got 2"),
        (safetensors({"a": ("F32", (2,))}, shape=[-1]), "tensor 'a': shape: wanted whole numbers, got -1"),
        (safetensors({"a": ("F32", (2,))}, shape=[True]), "tensor 'a': shape: wanted whole numbers, got True"),
        (safetensors({"a": ("F32", (2,))}, shape=[2.0]), "tensor 'a': shape: wanted whole numbers, got 2.0"),
        (safetensors({"a": ("F32", (2,))}, shape=[2**64]), "tensor 'a': shape: wanted whole numbers"),
        (safetensors({"a": ("F32", (2,))}, shape=[2**62] * 1000), "more elements than any machine can address"),
        (safetensors({"a": ("F32", (2,))}, shape=[3]), "tensor 'a': wanted 96 bits for F32 [3], got 8 bytes"),
        (safetensors({"a": ("F32", (2,))}, data_offsets=[0]), "tensor 'a': data_offsets: wanted two numbers, got 1"),
        (safetensors({"a": ("F32", (2,))}, data_offsets=[8, 16]), "'a': wanted its data to begin at 0, got 8 to 16"),
        (safetensors(TWO, data_offsets=[4, 12]), "'b': wanted its data to begin at 8"),
        (safetensors(TWO, data_offsets=[9, 17]), "'b': wanted its data to begin at 8"),
        (safetensors({"a": ("F32", (2,))}, data_offsets=[0, -1]), "data_offsets: wanted whole numbers, got -1"),
    ],
)  # fmt: skip
def test_what_the_reference_refuses_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        read(data)
    assert message in str(refused.value)


@pytest.mark.parametrize("change", [-1, 1])
def test_data_must_fill_the_file_exactly_where_its_size_is_known(change: int) -> None:
    data = safetensors({"a": ("F32", (2,))})
    assert read(data, len(data)).tensors[0].end == 8
    with pytest.raises(HeaderError, match=f"the data: it ends at byte {len(data)}, the file at {len(data) + change}"):
        read(data, len(data) + change)


def test_a_header_with_more_values_than_any_model_is_refused_before_it_is_parsed() -> None:
    many = b'{"a":[' + b"0," * (module.MAX_PUNCTUATION + 1) + b"0]}"
    with pytest.raises(HeaderError, match="it holds more values than 65536 tensors have"):
        read(raw_safetensors(many))
