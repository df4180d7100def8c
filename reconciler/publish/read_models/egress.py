"""Read model `egress`: the newest requests to other hosts, and the rules that decide about the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reconciler.core.egress import EgressPolicy, HostPort
from reconciler.publish.read_models.view import Facts, JsonObject, View
from reconciler.publish.requests import Row

SETTINGS = "settings"


class RequestFacts(NamedTuple):
    """One row of the ledger."""

    row: Row

    def item(self) -> JsonObject:
        """The row, as the event told it."""
        return dict(self.row)


class SettingsFacts(NamedTuple):
    """The item `settings`."""

    egress: EgressPolicy
    endpoint: HostPort | None
    offline: bool

    def item(self) -> JsonObject:
        """The policy of the manifest, and what the operator of this node set."""
        allow, endpoint = self.egress.allow, self.endpoint
        return {
            "posture": self.egress.posture.value,
            "allowlist": None if allow is None else [str(rule) for rule in allow],
            "allow_http": self.egress.allow_http,
            "allow_private": self.egress.allow_private,
            "endpoint": None if endpoint is None else endpoint.document(),
            "offline": self.offline,
        }


def facts(view: View) -> Iterable[tuple[str, Facts]]:
    """The settings, then the requests, newest first."""
    policy = view.status.policy
    yield SETTINGS, SettingsFacts(view.status.desired.egress, policy.endpoint, policy.offline)
    for key, row in reversed(tuple(view.requests.rows.items())):
        yield key, RequestFacts(row)


def live_facts(old: View, view: View) -> Mapping[str, Facts | None]:
    """The requests that are new, and those that are too old by now."""
    if old.requests is view.requests:
        return {}
    before, now = old.requests.rows, view.requests.rows
    gone: dict[str, Facts | None] = {key: None for key in before if key not in now}
    return gone | {key: RequestFacts(row) for key, row in now.items() if key not in before}
