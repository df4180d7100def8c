"""Where bytes can come from."""

from __future__ import annotations

import pytest

from reconciler.core.source import (
    HuggingFaceFile,
    LocalFile,
    WebFile,
    hugging_face_file,
    redact_url,
    web_file,
    without_secrets,
)

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@example.com/a.gguf?token=secret#part", "https://example.com/a.gguf"),
        ("https://example.com:8443/a.gguf", "https://example.com:8443/a.gguf"),
        ("https://user@[::1]:80/a?x", "https://[::1]:80/a"),
        ("https://EXAMPLE.com", "https://example.com"),
        ("https://[::1/a?token=secret", "<unreadable url>"),
        ("https://example.com:99999/a?token=secret", "<unreadable url>"),
    ],
)
def test_a_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host/a?key=s#s", "https://host/a"),
        ("https:/me:p@w/x@host/a?key=s", "https:/host/a"),
        ("ftp://me:pw@host/a", "ftp://host/a"),
        ("//me:pw@host/a", "//host/a"),
        ("me:pw@host/a", "host/a"),
        ("me:pw@host", "host"),
        ("--from=https://me:pw@host/a?key=s", "host/a"),
        (f"hf://org/repo@{COMMIT}/a?key=s", f"hf://org/repo@{COMMIT}/a"),
        (f"hf://me:p/w@org/repo@{COMMIT}/a", f"hf://org/repo@{COMMIT}/a"),
        ("hf://me:pw@org/repo/a", "hf://org/repo/a"),
        ("models/llama3:8b", "models/llama3:8b"),
        ("fri#1", "fri#1"),
        ("what?", "what?"),
        ("kim@home", "kim@home"),
    ],
)
def test_what_was_taken_for_a_url_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_web_file_in_a_traceback_holds_no_secret() -> None:
    assert repr([web_file("https://me:pw@host/a?key=s")]) == "[WebFile('https://host/a')]"


def test_a_web_file_knows_its_scheme_and_name() -> None:
    source = web_file("https://user:pw@example.com/models/a.gguf?x=1")

    assert (source.scheme, source.basename, source.redacted) == (
        "https",
        "a.gguf",
        "https://example.com/models/a.gguf",
    )
    assert WebFile("http://example.com/folder/").basename == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https:///a.gguf", "wanted a URL with a host"),
        ("https://./a.gguf", "wanted a URL with a host"),
        ("https://example.com/a b", "must not contain spaces"),
        ("https://example.com/a\tb", "must not contain spaces"),
        ("https://example.com/a\x7f", "must not contain spaces"),
        ("https://example.com:99999/a", "Port out of range"),
        ("https://[::1/a", "Invalid IPv6 URL"),
    ],
)
def test_what_is_no_url_of_a_file_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        web_file(text)


def test_a_hub_file_is_a_repository_a_commit_and_a_path() -> None:
    source = hugging_face_file(f"hf://sentence-transformers/all-MiniLM-L6-v2@{COMMIT}/model.safetensors")

    assert source == HuggingFaceFile("sentence-transformers/all-MiniLM-L6-v2", COMMIT, "model.safetensors")
    assert (source.scheme, source.basename) == ("hf", "model.safetensors")
    assert source.redacted == f"hf://sentence-transformers/all-MiniLM-L6-v2@{COMMIT}/model.safetensors"


def test_a_hub_source_can_be_a_prefix_of_its_files() -> None:
    assert hugging_face_file(f"hf://org/repo@{COMMIT}", "Q6_K/a.gguf").path == "Q6_K/a.gguf"
    assert hugging_face_file(f"hf://org/repo@{COMMIT}/sub/", "a.gguf").path == "sub/a.gguf"


@pytest.mark.parametrize("endpoint", ["https://hub.example", "https://hub.example/"])
def test_a_hub_file_is_asked_for_at_the_endpoint_with_its_path_quoted(endpoint: str) -> None:
    source = HuggingFaceFile("org/repo", COMMIT, "a folder/ä?#.gguf")

    assert source.url(endpoint) == f"https://hub.example/org/repo/resolve/{COMMIT}/a%20folder/%C3%A4%3F%23.gguf"
    assert source.basename == "ä?#.gguf"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"hf://repo@{COMMIT}/a", "wanted hf://ORG/REPO@COMMIT/PATH"),
        (f"hf:///repo@{COMMIT}/a", "wanted hf://ORG/REPO@COMMIT/PATH"),
        (f"hf://org/@{COMMIT}/a", "wanted hf://ORG/REPO@COMMIT/PATH"),
        (f"hf://org/repo/more@{COMMIT}/a", "wanted hf://ORG/REPO@COMMIT/PATH"),
        (f"hf://../repo@{COMMIT}/a", "wanted hf://ORG/REPO@COMMIT/PATH"),
        ("hf://org/repo/a", "wanted hf://ORG/REPO@COMMIT/PATH"),
        ("hf://org/repo", "wanted a commit of 40"),
        ("hf://org/repo@main/a", "wanted a commit of 40 hexadecimal digits after '@', got 'main'"),
        (f"hf://org/repo@{COMMIT.upper()}/a", "wanted a commit of 40"),
        (f"hf://org/repo@{COMMIT}", "wanted the path of a file"),
        (f"hf://org/repo@{COMMIT}/", "wanted the path of a file"),
        (f"hf://org/repo@{COMMIT}/../a", "wanted the path of a file"),
        (f"hf://org/repo@{COMMIT}/a//b", "wanted the path of a file"),
        (f"hf://org/repo@{COMMIT}/a?token=x", f"without a query, got one behind 'hf://org/repo@{COMMIT}/a'"),
        (f"hf://me:pw@org/repo@{COMMIT}/a", f"wanted hf://ORG/REPO@COMMIT/PATH, got 'hf://org/repo@{COMMIT}/a'"),
    ],
)
def test_what_is_no_file_of_a_repository_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("/", "\\/")):
        hugging_face_file(text)


def test_a_local_file_is_shown_with_its_path() -> None:
    source = LocalFile("/srv/models/a.gguf", "/srv/manifests")

    assert (source.scheme, source.basename, source.redacted) == ("file", "a.gguf", "file:/srv/models/a.gguf")
