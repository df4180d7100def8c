"""What each kind of source is asked for."""

from __future__ import annotations

from reconciler.core.egress import HostPort
from reconciler.core.source import HuggingFaceFile, WebFile
from reconciler.origins.catalog import SourceOrigins

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_plain_url_is_asked_for_as_it_is() -> None:
    request = SourceOrigins().request(WebFile("https://h.example/m%20x.gguf?sig=1"))
    assert (request.url, request.headers, request.exempt) == ("https://h.example/m%20x.gguf?sig=1", (), None)


def test_userinfo_becomes_a_header() -> None:
    request = SourceOrigins().request(WebFile("https://me:p%40ss@h.example:8443/m"))
    assert (request.url, request.headers) == (
        "https://h.example:8443/m",
        (("Authorization", "Basic bWU6cEBzcw=="),),
    )


def test_a_hub_file_is_asked_for_by_commit_with_the_token_of_the_moment() -> None:
    tokens = iter(["old", "new"])
    origins = SourceOrigins(hub_token=lambda: next(tokens))
    source = HuggingFaceFile("org/repo", COMMIT, "sub dir/m.gguf")
    assert origins.request(source).headers == (("Authorization", "Bearer old"),)
    request = origins.request(source)
    assert request.url == f"https://huggingface.co/org/repo/resolve/{COMMIT}/sub%20dir/m.gguf"
    assert request.headers == (("Authorization", "Bearer new"),)
    assert (request.exempt, request.credential) == (None, "RECONCILER_HF_TOKEN")


def test_the_operators_endpoint_is_asked_and_exempt_for_hub_files_alone() -> None:
    origins = SourceOrigins("http://127.0.0.1:8080/hub/", exempt=HostPort("http", "127.0.0.1", 8080))
    request = origins.request(HuggingFaceFile("org/repo", COMMIT, "m"))
    assert request.url.startswith("http://127.0.0.1:8080/hub/org/repo/resolve/")
    assert request.exempt == HostPort("http", "127.0.0.1", 8080)
    assert request.headers == ()
    assert origins.request(WebFile("http://127.0.0.1:8080/m")).exempt is None


def test_a_request_does_not_show_its_secrets() -> None:
    request = SourceOrigins(hub_token=lambda: "s3cret").request(HuggingFaceFile("org/repo", COMMIT, "m"))
    assert "s3cret" not in f"{request!r} {request!s}"
