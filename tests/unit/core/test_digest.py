"""What bytes are called."""

from __future__ import annotations

import hashlib

import pytest

from reconciler.core.digest import Digest, digest_of, digest_of_json, generation_id, is_digest

A = "a" * 64


def test_a_digest_is_what_sha256_says() -> None:
    assert digest_of(b"weights") == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("text", ["A" * 64, f"sha256:{A}", f"sha256:{'A' * 64}"])
def test_usual_spellings_are_read(text: str) -> None:
    assert Digest.parse(text) == A


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "g" * 64, f"md5:{A}", f"{A}\n", f" {A}"])
def test_nothing_else_can_be_built(text: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        Digest.parse(text)


def test_a_digest_that_is_not_canonical_can_not_be_built_directly() -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        Digest("A" * 64)


def test_only_a_lower_case_digest_is_a_file_name_of_the_store() -> None:
    assert is_digest(A)
    assert not is_digest(A.upper())
    assert not is_digest(f"{A}\n")


def test_people_see_twelve_digits() -> None:
    assert Digest(A).short == "a" * 12


def test_equal_values_have_equal_digests_however_their_keys_are_ordered() -> None:
    assert digest_of_json({"a": 1, "b": [2]}) == digest_of_json({"b": [2], "a": 1})
    assert digest_of_json({"a": 1}) != digest_of_json({"a": 2})


def test_a_generation_is_named_by_its_names_and_digests_alone() -> None:
    a, b = digest_of(b"a"), digest_of(b"b")

    assert generation_id([("x", a), ("y", b)]) == generation_id([("y", b), ("x", a)])
    assert generation_id([("x", a), ("y", b)]) != generation_id([("x", b), ("y", a)])
    assert generation_id([("x", a)]) != generation_id([("y", a)])
