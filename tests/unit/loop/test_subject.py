"""What an operator means by a name or a digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState
from reconciler.loop.subject import chosen, pinned, undeleted, unpinned
from tests.builders import NOW, Found, adapter, blob, digest, entry, foreign, model, observed

BY_ME = Directive(DirectiveKind.PIN, "", (), "me", NOW)


def machine(*found: Found) -> ObservedState:
    return observed(entry(model("a")), blob("a"), *found)


def test_a_model_is_pinned_by_name_reference_digest_and_abbreviated_digest() -> None:
    seen = machine()
    assert pinned("a", seen, BY_ME) == Directive(DirectiveKind.PIN, "models/a", (digest("a"),), "me", NOW)
    assert pinned("models/a", seen, BY_ME).subject == "models/a"
    for text in (digest("a"), f"sha256:{digest('a').upper()}", digest("a")[:12]):
        assert pinned(text, seen, BY_ME).subject == digest("a")


@pytest.mark.parametrize("subject", ["nobody", digest("other"), digest("a")[:7]])
def test_what_is_not_there_is_refused_with_a_hint(subject: str) -> None:
    with pytest.raises(StalledError) as caught:
        pinned(subject, machine(), BY_ME)
    assert caught.value.reason == "NoSuchObject"
    assert caught.value.hint is not None


def test_a_foreign_blob_is_nobodys_subject() -> None:
    seen = observed(foreign("theirs"))
    with pytest.raises(StalledError):
        pinned(digest("theirs"), seen, BY_ME)


def test_a_pin_is_found_by_what_it_was_made_with() -> None:
    pin = Directive(DirectiveKind.PIN, "models/a", (digest("a"),), "me", NOW)
    by_digest = Directive(DirectiveKind.PIN, digest("b"), (digest("b"),), "me", NOW)
    seen = machine(pin, by_digest)
    assert unpinned("a", seen) is pin
    assert unpinned("models/a", seen) is pin
    assert unpinned(digest("b")[:12], seen) is by_digest
    with pytest.raises(StalledError):
        unpinned("b", seen)


def test_an_undelete_finds_the_bytes_a_name_had() -> None:
    gone = blob("gone", quarantined=NOW)
    rows = (
        HistoryRow(NOW, "Quarantine", digest("gone"), 100, (), "unreferenced", "plan"),
        HistoryRow(NOW, "MarkUnreferenced", digest("gone"), 100, ("models/gone",), "unreferenced", "plan"),
        HistoryRow(NOW, "MarkUnreferenced", digest("older"), 100, ("models/gone",), "unreferenced", "plan"),
    )
    found = undeleted("gone", machine(gone), rows, BY_ME)
    assert found == Directive(DirectiveKind.UNDELETE, "models/gone", (digest("gone"),), "me", NOW)
    assert undeleted(digest("gone"), machine(gone), rows, BY_ME).subject == digest("gone")
    with pytest.raises(StalledError):
        undeleted("a", machine(gone), rows, BY_ME)


def test_verify_takes_names_and_digests_and_nothing_means_all() -> None:
    seen = observed(entry(model("a")), blob("a"), entry(adapter("s", "a")), blob("s"))
    assert chosen((), seen) is None
    assert chosen(("a", "adapters/s"), seen) == frozenset({digest("a"), digest("s")})
    assert chosen((digest("s"),), seen) == frozenset({digest("s")})
    with pytest.raises(StalledError):
        chosen(("x",), seen)


def test_an_abbreviation_of_two_digests_is_ambiguous() -> None:
    twins = [Digest("ab" * 4 + f"{n}" * 56) for n in (1, 2)]
    seen = observed(*[replace(blob("a"), digest=twin) for twin in twins])
    with pytest.raises(StalledError) as caught:
        pinned("ab" * 4, seen, BY_ME)
    assert caught.value.reason == "Ambiguous"
