from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from reconciler.core.change import ChangeSet, OwnBlob, SetFact, VerifyBlob
from reconciler.core.digest import digest_of
from reconciler.core.event import EventDraft, Topic
from reconciler.registry.encode import encode_changes, encode_events
from tests.fakes.clock import START

A, B = digest_of(b"a"), digest_of(b"b")


def test_neighbours_of_one_kind_become_one_batch_and_the_order_stays() -> None:
    changes = (OwnBlob(A, START), OwnBlob(B, START), VerifyBlob(A, 1, START), OwnBlob(A, START))
    batches = encode_changes(ChangeSet(changes))
    assert [len(batch.rows) for batch in batches] == [2, 1, 1]
    assert [row[0] for batch in batches for row in batch.rows] == [A, B, A, A]
    assert batches[0].sql == batches[2].sql


def test_an_empty_change_set_has_no_batches() -> None:
    assert encode_changes(ChangeSet()) == ()


def test_text_that_sql_would_misread_is_data() -> None:
    evil = "'); DROP TABLE fact; --"
    (batch,) = encode_changes(ChangeSet((SetFact(evil, evil),)))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT)")
        connection.executemany(batch.sql, batch.rows)
        assert connection.execute("SELECT * FROM fact").fetchall() == [(evil, evil)]


def test_a_payload_is_compact_json() -> None:
    (event,) = encode_events(ChangeSet((), (EventDraft(Topic.CAS_GC, {"deleted": 2, "names": ["ü"]}),)))
    assert (event.topic, event.payload) == ("models.cas.gc", '{"deleted":2,"names":["\\u00fc"]}')


def test_a_payload_that_is_not_json_fails_where_it_is_made() -> None:
    with pytest.raises(TypeError):
        encode_events(ChangeSet((), (EventDraft(Topic.CAS_GC, {"at": START}),)))  # type: ignore[dict-item]
