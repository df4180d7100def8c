"""Headers, real and hostile: ours agree with other readers, and nothing that is read makes them hang or grow."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import gguf
import numpy as np
import pytest
import safetensors
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.formats.ggml_types import TENSOR_TYPES
from reconciler.formats.gguf import GgufHeader, Skipped, read_gguf
from reconciler.formats.header_bytes import HeaderError, ReadAt
from reconciler.formats.lora import gguf_lora, peft_config, peft_lora
from reconciler.formats.lora_base import check_base, gguf_base
from reconciler.formats.safetensors import SafetensorsHeader, read_safetensors
from tests.unit.formats.headers import ARRAY, BOOL, F32, TEXT, U32, U64, Gguf, base, lora, peft, raw_safetensors, reader

T = TypeVar("T")
many = settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
some = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

ROOT = Path(__file__).parents[2] / "manifests" / "quickstart"
MOST_BYTES = 64 * 2**20
# What reading any small file may take: no count in it may make room for what it claims.

LENIENT = ("is there twice", "wanted a JSON object", "wanted an object", "unknown dtype", "surrogates")
"""What the reference implementation of safetensors lets pass and we refuse."""

# ---- GGUF against gguf-py ------------------------------------------------------------------------

keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
values = st.one_of(
    st.tuples(st.just(U32), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(U64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(11), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(F32), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just(BOOL), st.booleans()),
    st.tuples(st.just(TEXT), st.text(max_size=30)),
    st.tuples(st.just(ARRAY), st.tuples(st.just(TEXT), st.lists(st.text(max_size=8), max_size=5))),
    st.tuples(st.just(ARRAY), st.tuples(st.just(U32), st.lists(st.integers(0, 99), max_size=5))),
)
metadata = st.dictionaries(keys.filter(lambda key: not key.startswith(("GGUF.", "general."))), values, max_size=6)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
tensor_names = st.lists(keys.filter(lambda name: len(name.encode()) < 64), max_size=5, unique=True)


@some
@given(metadata, tensor_names, st.data())
def test_a_file_says_the_same_to_us_as_to_gguf_py(
    kv: dict[str, tuple[int, object]], names: list[str], data: st.DataObject
) -> None:
    draft = Gguf(kv=[(key, kind, value) for key, (kind, value) in kv.items()])
    offset = 0
    for name in names:
        shape = data.draw(shapes)
        draft.tensors.append((name, shape, 0, offset))
        offset += -(-4 * int(np.prod(shape)) // 32) * 32
    draft.data_bytes = offset
    content = bytes(draft)
    with TemporaryDirectory() as folder:
        path = Path(folder, "file.gguf")
        path.write_bytes(content)
        theirs = gguf.GGUFReader(path)
        ours = read_gguf(reader(content), len(content))
        assert_same(ours, theirs)
        del theirs  # it maps the file


def test_real_files_say_the_same_to_us_as_to_gguf_py() -> None:
    for path in sorted(ROOT.glob("*.gguf")):
        content = path.read_bytes()
        assert_same(read_gguf(reader(content), len(content)), gguf.GGUFReader(path))


def assert_same(ours: GgufHeader, theirs: gguf.GGUFReader) -> None:
    fields = {name: field for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert list(ours.metadata) == list(fields)
    for key, value in ours.metadata.items():
        found = fields[key].contents()
        assert value == (Skipped(len(found)) if isinstance(value, Skipped) else found)
    assert [(t.name, t.shape, t.type_id, t.size_bytes) for t in ours.tensors] == [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), int(t.n_bytes)) for t in theirs.tensors
    ]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert ours.data_offset + mine.offset == other.data_offset


def test_our_tensor_types_are_those_of_gguf_py() -> None:
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert {n: (t.name, t.block_elements, t.block_bytes) for n, t in TENSOR_TYPES.items()} == theirs


# ---- safetensors against the reference -----------------------------------------------------------

TYPES = {"F32": 32, "F16": 16, "BF16": 16, "I64": 64, "U8": 8, "BOOL": 8, "F4": 4, "C64": 64}


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, object], int]:
    """(a header that is right, how many bytes of data it describes)."""
    described: dict[str, object] = {}
    end = 0
    for name in draw(st.lists(st.text(max_size=8), max_size=5, unique=True)):
        kind = draw(st.sampled_from(sorted(TYPES)))
        shape = draw(st.lists(st.integers(0, 4), max_size=3)) + ([2] if kind == "F4" else [])
        size = int(np.prod(shape, dtype=int)) * TYPES[kind] // 8
        if name != "__metadata__":
            described[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
            end += size
    if draw(st.booleans()):
        described["__metadata__"] = draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2))
    names = draw(st.permutations(sorted(described)))
    return {name: described[name] for name in names}, end


@many
@given(documents())
def test_what_is_right_is_read_as_the_reference_reads_it(case: tuple[dict[str, object], int]) -> None:
    document, data_bytes = case
    content = raw_safetensors(document, data_bytes)
    assert tensors_of(read_safetensors(reader(content), len(content))) == tensors_of_reference(content)


@many
@given(documents(), st.data())
def test_what_the_reference_refuses_we_refuse(case: tuple[dict[str, object], int], data: st.DataObject) -> None:
    document, data_bytes = case
    content = data.draw(mutations(raw_safetensors(json.dumps(document).encode(), data_bytes)))
    try:
        theirs = tensors_of_reference(content)
    except safetensors.SafetensorError:
        theirs = None
    ours = outcome(lambda: tensors_of(read_safetensors(reader(content), len(content))))
    assert ours == theirs or (isinstance(ours, str) and (theirs is None or any(why in ours for why in LENIENT)))


def outcome(read: Callable[[], T]) -> T | str:
    """What was read, or why it was refused."""
    try:
        return read()
    except HeaderError as refused:
        return str(refused)


def tensors_of(header: SafetensorsHeader) -> dict[str, tuple[str, tuple[int, ...], int]]:
    return {t.name: (t.type_name, t.shape, t.end - t.begin) for t in header.tensors}


def tensors_of_reference(content: bytes) -> dict[str, tuple[str, tuple[int, ...], int]]:
    found: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    return {name: (t["dtype"], tuple(t["shape"]), len(t["data"])) for name, t in found}


# ---- hostile files -------------------------------------------------------------------------------

GGUF_SEEDS = [bytes(lora()), bytes(base()), (ROOT / "tiny.gguf").read_bytes()[:9184]]
SEEDS = [*GGUF_SEEDS, peft(), b'{"r": 8, "lora_alpha": 16}']


@st.composite
def mutations(draw: st.DrawFn, seed: bytes) -> bytes:
    """The bytes cut short, with flipped bits, with counts that are anything, or with a piece twice."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["cut", "flip", "count", "repeat", "insert"])):
            case "cut":
                del content[at:]
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "count":
                number = draw(st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]))
                content[at : at + 8] = number.to_bytes(8, "little")
            case "repeat":
                content[at:at] = content[max(0, at - draw(st.integers(1, 64))) : at]
            case "insert":
                content[at:at] = draw(st.binary(max_size=8))
            case _:
                pass  # nothing is left to flip a bit of
    return bytes(content)


def read_anything(read: ReadAt, size_bytes: int | None) -> None:
    """Every reader has had its say."""
    header = read_gguf(read, size_bytes)
    check_base(gguf_lora(header), gguf_base([header]))


def read_as_peft(read: ReadAt, size_bytes: int | None) -> None:
    peft_lora(read_safetensors(read, size_bytes), None)


def read_as_config(read: ReadAt, size_bytes: int | None) -> None:
    peft_config(read(0, size_bytes or 0))


Reader = Callable[[ReadAt, int | None], None]


@many
@given(st.sampled_from(SEEDS).flatmap(mutations), st.booleans())
@pytest.mark.parametrize("read", [read_anything, read_as_peft, read_as_config])
def test_whatever_a_file_holds_it_is_read_or_refused(read: Reader, content: bytes, sized: bool) -> None:
    asked = 0

    def counted(offset: int, size: int) -> bytes:
        nonlocal asked
        asked += 1
        return content[offset : offset + size]

    refused = outcome(lambda: read(counted, len(content) if sized else None))
    assert refused is None or 0 < len(refused) < 2000
    assert asked <= 4


@some
@given(st.sampled_from(GGUF_SEEDS).flatmap(mutations))
def test_no_count_in_a_file_makes_room_for_what_it_claims(content: bytes) -> None:
    tracemalloc.start()
    outcome(lambda: read_anything(reader(content), None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_BYTES
