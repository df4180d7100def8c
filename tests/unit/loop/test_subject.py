"""What an operator means by a name or a digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState
from reconciler.loop.subject import chosen, download_named, pinned, undeleted, unpinned
from tests.builders import NOW, Found, adapter, blob, digest, entry, foreign, model, observed


def machine(*found: Found) -> ObservedState:
    return observed(entry(model("a")), blob("a"), *found)


def test_a_model_is_pinned_by_name_reference_digest_and_abbreviated_digest() -> None:
    seen = machine()
    assert pinned("a", seen, by="me", at=NOW) == Directive(DirectiveKind.PIN, "models/a", (digest("a"),), "me", NOW)
    assert pinned("models/a", seen, by="me", at=NOW).subject == "models/a"
    for text in (digest("a"), f"sha256:{digest('a').upper()}", digest("a")[:12]):
        assert pinned(text, seen, by="me", at=NOW).subject == digest("a")


@pytest.mark.parametrize("subject", ["nobody", digest("other"), digest("a")[:7]])
def test_what_is_not_there_is_refused_with_a_hint(subject: str) -> None:
    with pytest.raises(StalledError) as caught:
        pinned(subject, machine(), by="me", at=NOW)
    assert caught.value.reason == "NoSuchObject"
    assert caught.value.hint is not None


def test_a_foreign_blob_is_nobodys_subject() -> None:
    seen = observed(foreign("theirs"))
    with pytest.raises(StalledError):
        pinned(digest("theirs"), seen, by="me", at=NOW)


def test_a_pin_is_found_by_what_it_was_made_with() -> None:
    pin = Directive(DirectiveKind.PIN, "models/a", (digest("a"),), "me", NOW)
    by_digest = Directive(DirectiveKind.PIN, digest("b"), (digest("b"),), "me", NOW)
    seen = machine(pin, by_digest)
    assert unpinned("a", seen) is pin
    assert unpinned("models/a", seen) is pin
    assert unpinned(digest("b")[:12], seen) is by_digest
    with pytest.raises(StalledError):
        unpinned("b", seen)


def test_the_beginning_of_a_name_is_no_abbreviation_of_its_pin() -> None:
    pin = Directive(DirectiveKind.PIN, "models/qwen-coder", (digest("a"),), "me", NOW)
    with pytest.raises(StalledError) as caught:
        unpinned("models/qwen", machine(pin))
    assert caught.value.reason == "NoSuchObject"


def test_the_word_before_a_digest_does_not_make_it_longer() -> None:
    pin = Directive(DirectiveKind.PIN, digest("b"), (digest("b"),), "me", NOW)
    with pytest.raises(StalledError):
        unpinned(f"sha256:{digest('b')[:7]}", machine(pin))
    assert unpinned(f"sha256:{digest('b')[:8].upper()}", machine(pin)) is pin


def test_an_undelete_finds_the_bytes_a_name_had() -> None:
    gone = blob("gone", quarantined=NOW)
    rows = (
        HistoryRow(NOW, "Quarantine", digest("gone"), 100, (), "unreferenced", "plan"),
        HistoryRow(NOW, "MarkUnreferenced", digest("gone"), 100, ("models/gone",), "unreferenced", "plan"),
        HistoryRow(NOW, "MarkUnreferenced", digest("older"), 100, ("models/gone",), "unreferenced", "plan"),
    )
    found = undeleted("gone", machine(gone), rows, by="me", at=NOW)
    assert found == Directive(DirectiveKind.UNDELETE, "models/gone", (digest("gone"),), "me", NOW)
    assert undeleted(digest("gone"), machine(gone), rows, by="me", at=NOW).subject == digest("gone")
    with pytest.raises(StalledError):
        undeleted("a", machine(gone), rows, by="me", at=NOW)


def test_verify_takes_names_and_digests_and_nothing_means_all() -> None:
    seen = observed(entry(model("a")), blob("a"), entry(adapter("s", "a")), blob("s"))
    assert chosen((), seen) is None
    assert chosen(("a", "adapters/s"), seen) == frozenset({digest("a"), digest("s")})
    assert chosen((digest("s"),), seen) == frozenset({digest("s")})
    with pytest.raises(StalledError):
        chosen(("x",), seen)


def test_an_abbreviation_of_two_digests_is_ambiguous() -> None:
    twins = [Digest("ab" * 4 + f"{n}" * 56) for n in (1, 2)]
    pins = [Directive(DirectiveKind.PIN, twin, (twin,), "me", NOW) for twin in twins]
    seen = observed(*[replace(blob("a"), digest=twin) for twin in twins], *pins)
    with pytest.raises(StalledError) as caught:
        pinned("ab" * 4, seen, by="me", at=NOW)
    assert caught.value.reason == "Ambiguous"
    with pytest.raises(StalledError) as caught:
        unpinned("ab" * 4, seen)
    assert caught.value.reason == "Ambiguous"
    assert unpinned("ab" * 4 + "2", seen) is pins[1]


def test_a_pin_is_found_by_a_digest_it_holds() -> None:
    pin = Directive(DirectiveKind.PIN, "adapters/gone", (digest("b"),), "me", NOW)
    assert unpinned(digest("b")[:12], machine(pin)) is pin


@pytest.mark.parametrize(
    ("subject", "message", "hint"),
    [
        ("2ca7", "'2ca7' names no model, adapter or digest of this machine",
         "a digest needs at least 8 of its digits; `reconcile get downloads` lists them"),
        ("sha256:2CA7", "'sha256:2CA7' names no model, adapter or digest of this machine",
         "a digest needs at least 8 of its digits; `reconcile get downloads` lists them"),
        ("2ca72ca7", "'2ca72ca7' names no model, adapter or digest of this machine",
         "`reconcile get downloads` lists the digests that there are"),
        ("face-model", "'face-model' names no model, adapter or digest of this machine",
         "`reconcile status` lists what there is"),
        ("facf", "'facf' names no model, adapter or digest of this machine", "did you mean models/face?"),
    ],
)  # fmt: skip
def test_a_download_that_is_not_there_is_told_how_digests_are_given(subject: str, message: str, hint: str) -> None:
    with pytest.raises(StalledError) as caught:
        download_named(subject, ["models/face"], [digest("a")])

    assert (caught.value.reason, caught.value.message, caught.value.hint) == ("NoSuchObject", message, hint)
