"""GGUF headers: what is read, what is passed over, and what is refused by name."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from reconciler.formats import gguf
from reconciler.formats.gguf import GgufHeader, Skipped, read_gguf
from reconciler.formats.header_bytes import HeaderError
from tests.unit.formats.headers import ARRAY, BOOL, F32, TEXT, U32, U64, Gguf, base, reader

QUICKSTART = Path(__file__).parents[3] / "manifests" / "quickstart"


def read(draft: Gguf | bytes, size_bytes: int | None = None) -> GgufHeader:
    return read_gguf(reader(bytes(draft)), size_bytes)


def test_a_real_model_is_read_without_its_vocabulary_and_its_data() -> None:
    data = (QUICKSTART / "tiny.gguf").read_bytes()
    header = read(data, len(data))
    assert (header.version, header.architecture, len(header.tensors)) == (3, "llama", 21)
    assert header.metadata["llama.context_length"] == 512
    assert header.metadata["tokenizer.ggml.tokens"] == Skipped(334)
    assert header.tensors[0].shape == (64, 334)
    assert (header.tensors[0].type_name, header.tensors[0].size_bytes) == ("F32", 64 * 334 * 4)
    assert read_gguf(reader(data[: header.data_offset])) == header


def test_every_kind_of_value_is_read_or_passed_over() -> None:
    draft = Gguf(
        kv=[
            ("u8", 0, 255),
            ("i8", 1, -1),
            ("flag", BOOL, True),
            ("f32", F32, 0.5),
            ("f64", 12, 0.1),
            ("i64", 11, -(2**63)),
            ("u64", U64, 2**64 - 1),
            ("text", TEXT, "wörds"),
            ("bad text", TEXT, b"caf\xe9"),
            ("long text", TEXT, "x" * (gguf.MAX_TEXT_BYTES + 1)),
            ("numbers", ARRAY, (U32, [1, 2, 3])),
            ("texts", ARRAY, (TEXT, ["a", "", "bc"])),
            ("last", U32, 7),
        ]
    )
    assert dict(read(draft).metadata) == {
        "u8": 255,
        "i8": -1,
        "flag": True,
        "f32": 0.5,
        "f64": 0.1,
        "i64": -(2**63),
        "u64": 2**64 - 1,
        "text": "wörds",
        "bad text": "caf\ufffd",
        "long text": Skipped(gguf.MAX_TEXT_BYTES + 1),
        "numbers": Skipped(3),
        "texts": Skipped(3),
        "last": 7,
    }


def test_version_2_is_read_as_well() -> None:
    assert read(Gguf(version=2, kv=[("general.architecture", TEXT, "llama")])).architecture == "llama"


def test_a_file_without_an_architecture_has_none() -> None:
    assert read(Gguf()).architecture is None
    assert read(Gguf(kv=[("general.architecture", U32, 1)])).architecture is None


def test_a_type_that_is_not_known_yet_has_no_size() -> None:
    draft = Gguf(tensors=[("t", (3, 5), 99, 0)])
    header = read(draft, len(bytes(draft)))
    assert (header.tensors[0].type_name, header.tensors[0].size_bytes) == ("type 99", None)


def test_the_data_begins_on_the_declared_alignment() -> None:
    header = read(Gguf(kv=[("general.alignment", U32, 4096)]))
    assert header.data_offset == 4096


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (b"", "the magic at byte 0: wanted 4 bytes, the file ends before"),
        (Gguf(magic=b"GGML"), "the magic at byte 0: wanted b'GGUF', got b'GGML'"),
        (Gguf(version=1), "the version at byte 4: wanted 2 or 3, got 1"),
        (Gguf(version=0x03000000), "the version at byte 4: the file is big-endian"),
        (Gguf(key_count=2**40), "the number of metadata keys at byte 16: at most 65536 are read"),
        (Gguf(tensor_count=2**63), "the number of tensors at byte 8: at most 65536 are read"),
        (Gguf(key_count=1), "the type of '' at byte 32: wanted 4 bytes, the file ends before"),
        (Gguf(kv=[("a", U32, 1), ("a", U32, 1)]), "metadata key 'a' at byte 41: it is there twice"),
        (bytes(Gguf(kv=[("a", U32, 1)])).replace(b"a" + struct.pack("<I", 4), b"a" + struct.pack("<I", 13)),
         "metadata key 'a' at byte 24: unknown type 13"),
        (Gguf(kv=[("aa", ARRAY, (ARRAY, []))]), "metadata key 'aa' at byte 38: arrays of arrays are not read"),
        (Gguf(kv=[("aa", ARRAY, (14, []))]), "metadata key 'aa' at byte 38: unknown element type 14"),
        (Gguf(kv=[("general.alignment", U32, 33)]), "'general.alignment': wanted a power of two, got 33"),
        (Gguf(kv=[("general.alignment", U32, 0)]), "'general.alignment': wanted a power of two, got 0"),
        (Gguf(kv=[("general.alignment", TEXT, "x")]), "'general.alignment': wanted a power of two, got 'x'"),
        (Gguf(tensors=[("t", (1,), 0, 0), ("t", (1,), 0, 32)]), "tensor 't' at byte 57: it is there twice"),
        (Gguf(tensors=[("t", (1,), 0, 5)]), "tensor 't' at byte 24: offset 5 is not on 32"),
        (Gguf(tensors=[("t", (1, 1, 1, 1, 1), 0, 0)]), "tensor 't' at byte 33: wanted at most 4 dimensions, got 5"),
        (Gguf(tensors=[("t", (2**40, 2**40), 0, 0)]), "is more than any machine can address"),
        (Gguf(tensors=[("t", (33,), 8, 0)]), "tensor 't' at byte 33: rows of 33 are no whole blocks of Q8_0"),
        (Gguf(tensors=[("t", (), 8, 0)]), "no whole blocks of Q8_0"),
        (Gguf(tensors=[("x" * 2000, (1,), 0, 0)]), "the length of the name of tensor 0 at byte 24: at most 1024"),
    ],
)  # fmt: skip
def test_what_no_runtime_would_load_is_refused_by_name_and_place(draft: Gguf | bytes, message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        read(draft)
    assert message in str(refused.value)


def test_a_key_that_is_not_utf_8_is_refused() -> None:
    broken = bytes(Gguf(kv=[("abc", U32, 1)])).replace(b"abc", b"a\xffc")
    with pytest.raises(HeaderError, match="metadata key 0 at byte 24: not UTF-8"):
        read(broken)


@pytest.mark.parametrize("count", [2**40, 2**63, 2**64 - 1])
@pytest.mark.parametrize("element", [0, 12, TEXT])
def test_an_array_that_claims_more_than_any_file_holds_fails_before_anything_is_read(count: int, element: int) -> None:
    honest = bytes(Gguf(kv=[("a", ARRAY, (element, []))]))
    hostile = honest[:41] + struct.pack("<Q", count) + honest[49:]
    reads: list[int] = []

    def counted(offset: int, size: int) -> bytes:
        reads.append(size)
        return hostile[offset : offset + size]

    with pytest.raises(HeaderError, match="'a'"):
        read_gguf(counted)
    assert len(reads) == 1


def test_texts_in_arrays_are_counted_over_the_whole_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "MAX_ARRAY_TEXTS", 5)
    with pytest.raises(HeaderError, match=r"'b' at byte .*: at most 5 texts are read, got 3"):
        read(Gguf(kv=[("a", ARRAY, (TEXT, [""] * 3)), ("b", ARRAY, (TEXT, [""] * 3))]))


def test_data_that_ends_behind_the_file_is_refused_where_the_size_is_known() -> None:
    whole = bytes(base())
    read(whole, len(whole))
    with pytest.raises(HeaderError, match=r"tensor 'blk.0.attn_norm.weight': its data ends at byte \d+, the file at"):
        read(whole, len(whole) - 1)
