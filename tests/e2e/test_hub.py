"""The loopback hub answers as Hugging Face's resolve API does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.hub import Hub
from tests.fixtures import minilm

BODY = bytes(range(256)) * 16
ETAG = f'"{hashlib.sha256(BODY).hexdigest()}"'
COMMIT = "0" * 40
URL = f"/org/repo/resolve/{COMMIT}/folder/weights.gguf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "org" / "repo" / COMMIT / "folder" / "weights.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    return tmp_path


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    with Hub(folder) as running:
        yield running


def test_a_file_comes_with_its_digest_size_and_commit(hub: Hub) -> None:
    answer = httpx.get(hub.endpoint + URL)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["ETag"] == answer.headers["X-Linked-ETag"] == ETAG
    assert answer.headers["X-Linked-Size"] == str(len(BODY))
    assert answer.headers["X-Repo-Commit"] == COMMIT


def test_head_sends_no_body(hub: Hub) -> None:
    answer = httpx.head(hub.endpoint + URL)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(BODY)))
    assert hub.body_bytes == 0


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "body"),
    [
        ("bytes=0-", 206, "bytes 0-4095/4096", BODY),
        ("bytes=4000-", 206, "bytes 4000-4095/4096", BODY[4000:]),
        ("bytes=1-3", 206, "bytes 1-3/4096", BODY[1:4]),
        ("bytes=-6", 206, "bytes 4090-4095/4096", BODY[-6:]),
        ("bytes=4096-", 416, "bytes */4096", b""),
        ("lines=1-2", 200, None, BODY),
    ],
)
def test_a_range_is_answered_exactly(hub: Hub, asked: str, status: int, content_range: str | None, body: bytes) -> None:
    answer = httpx.get(hub.endpoint + URL, headers={"Range": asked})
    assert (answer.status_code, answer.headers.get("Content-Range"), answer.content) == (status, content_range, body)
    assert hub.body_bytes == len(body)


def test_if_range_of_another_version_gets_the_whole_file(hub: Hub) -> None:
    same = httpx.get(hub.endpoint + URL, headers={"Range": "bytes=9-", "If-Range": ETAG})
    other = httpx.get(hub.endpoint + URL, headers={"Range": "bytes=9-", "If-Range": '"other"'})
    assert (same.status_code, other.status_code, other.content) == (206, 200, BODY)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/org/other/resolve/main/x", "RepoNotFound"),
        (f"/org/repo/resolve/{'1' * 40}/x", "RevisionNotFound"),
        (f"/org/repo/resolve/{COMMIT}/x", "EntryNotFound"),
        (f"/org/repo/resolve/{COMMIT}/%2e%2e/{COMMIT}/folder/weights.gguf", "EntryNotFound"),
    ],
)
def test_what_is_missing_is_named(hub: Hub, path: str, code: str) -> None:
    answer = httpx.get(hub.endpoint + path)
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, code)


def test_a_gated_hub_wants_its_token(folder: Path) -> None:
    with Hub(folder, token="secret") as hub:
        answers = [
            httpx.get(hub.endpoint + URL, headers=headers)
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer secret"})
        ]
    assert [answer.status_code for answer in answers] == [401, 403, 200]
    assert answers[0].headers["X-Error-Code"] == "GatedRepo"


@pytest.mark.e2e
def test_the_real_model_is_served_with_its_published_digest(minilm_hub: Hub) -> None:
    url = f"{minilm_hub.endpoint}/{minilm.REPO}/resolve/{minilm.COMMIT}/{minilm.FILE}"
    digest = hashlib.sha256()
    with httpx.stream("GET", url) as answer:
        for chunk in answer.iter_raw():
            digest.update(chunk)
    assert digest.hexdigest() == minilm.SHA256
    assert minilm_hub.body_bytes == minilm.SIZE_BYTES
