"""The newest requests, and the read model `egress` that shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.core.egress import EgressPolicy, HostPort, parse_host_rule
from reconciler.core.event import Event, EventId, Topic
from reconciler.core.history import LedgerRow
from reconciler.core.ledger import ledger_document
from reconciler.core.plan import PlanPolicy
from reconciler.publish.read_models import egress
from reconciler.publish.requests import KEEP, followed, newest
from tests.builders import NOW, desired
from tests.ledger import check_ledger_row
from tests.unit.publish.statuses import healthy, items, status, view


def ledger_row(n: int, **fields: Any) -> LedgerRow:
    return LedgerRow(
        NOW + timedelta(microseconds=n), "allow", "models.download", "hub.example", 443, "https", n, 5, f"corr-{n}",
        **fields,
    )  # fmt: skip


def test_egress_shows_the_newest_requests_as_the_ledger_has_them() -> None:
    rows = [ledger_row(n) for n in range(KEEP + 5)]
    shown = dict(items("egress", view(healthy(), requests=newest(rows[::-1]))))
    assert shown.pop("settings")
    assert list(shown.values()) == [check_ledger_row(row) for row in rows[: -KEEP - 1 : -1]]
    assert list(shown) == sorted(shown, reverse=True)


def test_two_rows_of_one_job_and_instant_are_two_items_and_one_told_twice_is_one() -> None:
    one, other = ledger_row(1, ip="10.0.0.1"), ledger_row(1, ip="10.0.0.2")
    events = [Event(EventId("0a1b2c3d", n), Topic.EGRESS_LEDGER, NOW, ledger_document(row)) for n, row in
              enumerate((one, other, one))]  # fmt: skip
    found = followed(newest([one]), events)
    assert list(found.rows.values()) == [ledger_document(one), ledger_document(other)]
    assert followed(found, [replace(events[0], topic=Topic.CAS_GC)]) is found


def test_egress_settings_are_the_rules_for_the_next_request() -> None:
    allow = tuple(map(parse_host_rule, ("hub.example", "*.hf.co:8443", "[::1]:8080")))
    wanted = replace(desired(), egress=EgressPolicy(allow, allow_private=True))
    policy = PlanPolicy(offline=True, endpoint=HostPort("http", "mirror.lan", 8080))
    assert items("egress", view(replace(status(wanted), policy=policy))) == {
        "settings": {
            "posture": "allowlist",
            "allowlist": ["hub.example", "*.hf.co:8443", "[::1]:8080"],
            "allow_http": False,
            "allow_private": True,
            "endpoint": {"host": "mirror.lan", "port": 8080, "protocol": "http"},
            "offline": True,
        }
    }
    assert items("egress", view(healthy()))["settings"]["allowlist"] is None


def test_egress_moves_with_each_request_and_only_then() -> None:
    of = healthy()
    before = view(of, requests=newest([ledger_row(n) for n in range(KEEP, 0, -1)]))
    row = ledger_row(KEEP + 1)
    now = view(of, requests=followed(before.requests, [Event(EventId("0a1b2c3d", 1), Topic.EGRESS_LEDGER, NOW,
                                                             ledger_document(row))]))  # fmt: skip
    moved = egress.live_facts(before, now)
    assert [facts and facts.item() for facts in moved.values()] == [None, ledger_document(row)]
    assert list(moved) == [next(iter(before.requests.rows)), list(now.requests.rows)[-1]]
    assert egress.live_facts(now, view(of, requests=now.requests)) == {}
