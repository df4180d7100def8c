from __future__ import annotations

import pytest

from reconciler.cas import layout
from reconciler.core.digest import Digest
from reconciler.core.observed import Place

DIGEST = Digest("ab" * 32)


def test_every_kind_of_file_has_its_folder() -> None:
    assert layout.blob(Place.BY_HASH, DIGEST) == f"by-hash/{DIGEST}"
    assert layout.blob(Place.QUARANTINE, DIGEST) == f"quarantine/{DIGEST}"
    assert layout.part(DIGEST) == f"tmp/{DIGEST}.part"
    assert layout.part_meta(DIGEST) == f"tmp/{DIGEST}.part.meta"
    assert layout.corrupt(DIGEST, 0) == f"corrupt/{DIGEST}"
    assert layout.corrupt(DIGEST, 2) == f"corrupt/{DIGEST}.2"
    assert layout.generation(DIGEST) == f"generations/{DIGEST}"


def test_a_link_climbs_out_of_its_generation_from_any_depth() -> None:
    assert layout.link_text("a.gguf", DIGEST) == f"../../by-hash/{DIGEST}"
    assert layout.link_text("Q6_K/deep/a.gguf", DIGEST) == f"../../../../by-hash/{DIGEST}"


@pytest.mark.parametrize(
    "name",
    ["", "README", DIGEST.upper(), DIGEST[:-1], f"{DIGEST}0", f"{DIGEST}.gguf", f".{DIGEST}.new", f"{DIGEST}\n"],
)
def test_a_foreign_name_stands_for_no_digest(name: str) -> None:
    assert layout.digest_of_name(name) is None
    assert layout.digest_of_part(name) is None


def test_the_names_of_a_part_stand_for_its_digest() -> None:
    assert layout.digest_of_name(DIGEST) == DIGEST
    assert layout.digest_of_part(f"{DIGEST}.part") == DIGEST
    assert layout.digest_of_part(f"{DIGEST}.part.meta") == DIGEST
    assert layout.digest_of_part(f".{DIGEST}.part.meta.tmp") is None


def test_a_generation_being_written_has_no_name_that_a_scan_takes_for_complete() -> None:
    assert layout.digest_of_name(layout.new_generation(DIGEST).split("/")[1]) is None


def test_a_store_file_is_read_back() -> None:
    assert layout.decode_store_file(layout.encode_store_file("id-1")) == layout.StoreFile(1, "id-1")


def test_a_newer_store_file_keeps_its_version_and_nothing_else_is_believed() -> None:
    assert layout.decode_store_file(b'{"format_version": 2, "id": 7}') == layout.StoreFile(2, None)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"format_version": 1}', b'{"format_version": 1, "store_id": ""}', b"\xff"]
)
def test_a_store_file_that_says_nothing_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        layout.decode_store_file(data)
