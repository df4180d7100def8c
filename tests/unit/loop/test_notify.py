"""The webhook: what is told, how it is signed, and that it never holds anything up."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest

from reconciler.clock import SystemClock
from reconciler.core.job import Code
from reconciler.core.status import Condition, ConditionType
from reconciler.loop.notify import QUEUE_LENGTH, Notifier, Webhook
from reconciler.loop.transition import Transition
from reconciler.net.exchange import Answer, Exchange, Question, Reach
from reconciler.net.failure import NetError
from tests.fakes.clock import START, FakeClock
from tests.fakes.listener import Listener, send
from tests.patience import until
from tests.unit.docs.snippets import blocks

SECRET = "a shared secret"


def condition(name: str, reason: str = "Fetched", *, status: bool = True) -> Condition:
    return Condition(f"models/{name}", ConditionType.READY, status, reason, f"{name} is {reason}", "r1", START)


def changed(name: str, before: str | None, after: str | None) -> Transition:
    return Transition(
        None if before is None else condition(name, before, status=before == "Fetched"),
        None if after is None else condition(name, after, status=after == "Fetched"),
    )


class Receiver:
    """What `ask` of the notifier leads to: remembers, and answers or fails as told."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.answers: list[int | NetError] = []
        self.gate = threading.Event()
        self.gate.set()

    def ask(self, question: Question, reach: Reach) -> Answer:
        assert reach is Reach.NAMED
        self.gate.wait(20)
        self.questions.append(question)
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, NetError):
            raise answer
        return Answer(answer, (), b"")

    @property
    def messages(self) -> list[dict[str, object]]:
        return [json.loads(question.body) for question in self.questions]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def notifier(receiver: Receiver) -> Iterator[Notifier]:
    webhook = Webhook("https://hooks.example.com/x?key=hunter2", "gpu-1", lambda: SECRET)
    made = Notifier(webhook, receiver.ask, FakeClock())
    yield made
    made.close()


def test_a_transition_is_told_with_what_changed_where_and_when(notifier: Notifier, receiver: Receiver) -> None:
    notifier.start()
    notifier.tell((changed("qwen", "Fetched", "Stalled"),), "c0ffee")
    until(lambda: receiver.questions)
    assert receiver.messages == [
        {
            "format": 1,
            "object": "models/qwen",
            "type": "Ready",
            "status": False,
            "reason": "Stalled",
            "message": "qwen is Stalled",
            "revision": "r1",
            "at": "2026-01-05T12:00:00Z",
            "node": "gpu-1",
            "commit": "c0ffee",
        }
    ]
    assert receiver.questions[0].method == "POST"
    assert ("Content-Type", "application/json") in receiver.questions[0].headers


def test_what_is_gone_is_told_as_gone(notifier: Notifier, receiver: Receiver) -> None:
    blocked = replace(condition("qwen", "Fuse"), object="node", type=ConditionType.PRUNE_BLOCKED)
    notifier.start()
    notifier.tell((changed("qwen", "Fetched", None), Transition(blocked, None)))
    until(lambda: len(receiver.questions) == 2)
    told = [(m["object"], m["status"], m["reason"], m["message"]) for m in receiver.messages]
    assert told == [
        ("models/qwen", None, "Gone", "was Fetched: qwen is Fetched"),
        ("node", False, "Gone", "was Fuse: qwen is Fuse"),
    ]
    assert all("commit" not in message for message in receiver.messages)


def test_a_message_is_signed_over_its_time_and_its_body(notifier: Notifier, receiver: Receiver) -> None:
    notifier.start()
    notifier.tell((changed("qwen", None, "Fetched"),))
    until(lambda: receiver.questions)
    question = receiver.questions[0]
    header = dict(question.headers)["X-Reconciler-Signature"]
    at, digest = (part.partition("=")[2] for part in header.split(","))
    assert int(at) == int(START.timestamp())
    wanted = hmac.new(SECRET.encode(), at.encode() + b"." + question.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, wanted)


def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    notifier = Notifier(Webhook("https://hooks.example.com/", "gpu-1"), receiver.ask, FakeClock())
    notifier.start()
    notifier.tell((changed("qwen", None, "Fetched"),))
    until(lambda: receiver.questions)
    notifier.close()
    assert [name for name, _ in receiver.questions[0].headers] == ["Content-Type"]


def test_what_changes_twice_while_it_waits_is_told_once(notifier: Notifier, receiver: Receiver) -> None:
    notifier.tell((changed("a", "Fetched", "Stalled"), changed("b", None, "Progressing")))
    notifier.tell((changed("a", "Stalled", "Failed"), changed("b", "Progressing", "Fetched")))
    notifier.start()
    until(lambda: len(receiver.questions) == 2)
    assert [(m["object"], m["reason"]) for m in receiver.messages] == [("models/a", "Failed"), ("models/b", "Fetched")]


def test_what_is_back_where_it_was_is_not_told(notifier: Notifier, receiver: Receiver) -> None:
    notifier.tell((changed("a", "Fetched", "Stalled"), changed("b", None, "Progressing")))
    notifier.tell((changed("a", "Stalled", "Fetched"), changed("b", "Progressing", None)))
    notifier.tell((changed("c", None, "Fetched"),))
    notifier.start()
    until(lambda: receiver.questions)
    assert [m["object"] for m in receiver.messages] == ["models/c"]


def test_a_queue_that_overflows_loses_the_oldest_and_says_how_many(notifier: Notifier, receiver: Receiver) -> None:
    notifier.tell(tuple(changed(f"m{n}", None, "Fetched") for n in range(QUEUE_LENGTH + 7)))
    notifier.start()
    until(lambda: len(receiver.questions) == QUEUE_LENGTH)
    first, second, *_ = receiver.messages
    assert (first["object"], first["dropped"]) == ("models/m7", 7)
    assert "dropped" not in second


@pytest.mark.parametrize("failure", [503, 429, NetError(Code.CONNECT, "refused", transient=True)])
def test_a_receiver_that_is_down_for_a_moment_is_tried_again(
    notifier: Notifier, receiver: Receiver, failure: int | NetError
) -> None:
    receiver.answers = [failure]
    notifier.start()
    notifier.tell((changed("a", None, "Fetched"),))
    until(lambda: len(receiver.questions) == 2)
    assert receiver.messages[0] == receiver.messages[1]


@pytest.mark.parametrize("refusal", [400, 410, 302, NetError(Code.CONNECT, "the certificate was not accepted")])
def test_a_refusal_is_the_last_word_and_is_counted(
    notifier: Notifier, receiver: Receiver, refusal: int | NetError, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [refusal]
    notifier.start()
    notifier.tell((changed("a", None, "Fetched"), changed("b", None, "Fetched")))
    until(lambda: len(receiver.questions) == 2)
    assert [(m["object"], m.get("dropped")) for m in receiver.messages] == [("models/a", None), ("models/b", 1)]
    assert "the webhook https://hooks.example.com/x was not told of a condition" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_receiver_that_hangs_holds_up_neither_a_pass_nor_the_end(notifier: Notifier, receiver: Receiver) -> None:
    receiver.gate.clear()
    notifier.start()
    since = time.monotonic()
    for n in range(100):
        notifier.tell((changed(f"m{n}", None, "Fetched"),))
    notifier.close()
    assert time.monotonic() - since < 5
    receiver.gate.set()
    until(lambda: not any(thread.name == "notify" for thread in threading.enumerate()))


def test_closing_ends_a_wait_for_the_next_try(notifier: Notifier, receiver: Receiver) -> None:
    receiver.answers = [503] * 9
    notifier.start()
    notifier.tell((changed("a", None, "Fetched"),))
    until(lambda: receiver.questions)
    notifier.close()
    until(lambda: not any(thread.name == "notify" for thread in threading.enumerate()))


def test_a_real_receiver_gets_it() -> None:
    def accept(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        send(handler, 202, b"thanks")

    with Listener(accept) as server:
        clock = SystemClock()
        notifier = Notifier(Webhook(server.url("/hook"), "gpu-1", lambda: SECRET), Exchange(clock).ask, clock)
        notifier.start()
        notifier.tell((changed("qwen", None, "Fetched"),))
        until(lambda: server.asked)
        notifier.close()
    asked = server.asked[0]
    assert (asked.method, asked.path, json.loads(asked.body)["object"]) == ("POST", "/hook", "models/qwen")
    assert asked.headers["X-Reconciler-Signature"].startswith("t=")


# ---- the guide -----------------------------------------------------------------------------------

GUIDE = "docs/guides/notifications.md"


def test_the_receiver_of_the_guide_accepts_what_is_sent_and_nothing_else(
    notifier: Notifier, receiver: Receiver
) -> None:
    (block,) = [block for block in blocks(GUIDE) if block.language == "python"]
    names: dict[str, Callable[..., bool]] = {}
    exec(block.text, names)
    is_genuine = names["is_genuine"]
    notifier.start()
    notifier.tell((changed("qwen", None, "Fetched"),))
    until(lambda: receiver.questions)
    body = receiver.questions[0].body
    header = dict(receiver.questions[0].headers)["X-Reconciler-Signature"]
    now = START.timestamp()
    assert is_genuine(header, body, SECRET, now)
    assert is_genuine(header, body, SECRET, now + 299)
    assert not is_genuine(header, body, SECRET, now + 400)
    assert not is_genuine(header, body + b" ", SECRET, now)
    assert not is_genuine(header, body, "another secret", now)
    assert not is_genuine(header.replace(f"t={int(now)}", f"t={int(now) + 1}"), body, SECRET, now)
    assert not any(is_genuine(bad, body, SECRET, now) for bad in ("", "t=,v1=", "v1=00", "nonsense", "t=x,v1=é"))


def test_the_message_in_the_guide_has_the_fields_of_a_real_one(notifier: Notifier, receiver: Receiver) -> None:
    (block,) = [block for block in blocks(GUIDE) if block.language == "json"]
    notifier.start()
    notifier.tell((changed("qwen", "Fetched", "Stalled"),), "c0ffee")
    until(lambda: receiver.questions)
    assert list(json.loads(block.text)) == list(receiver.messages[0])


def test_a_message_about_a_name_that_is_no_text_is_sent_and_so_are_later_ones(
    notifier: Notifier, receiver: Receiver
) -> None:
    notifier.start()
    notifier.tell((changed("\udcff", None, "Missing"),))
    notifier.tell((changed("b", None, "Missing"),))
    until(lambda: len(receiver.messages) == 2)
    assert receiver.messages[0]["object"] == "models/\udcff"
