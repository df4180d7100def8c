"""What may be handed to git, and what people are shown of it."""

from __future__ import annotations

import base64

import pytest

from reconciler.core.errors import StalledError
from reconciler.loop.git.location import git_location


@pytest.mark.parametrize(
    ("url", "given", "shown"),
    [
        ("https://example.com/o/r.git", "https://example.com/o/r.git", "https://example.com/o/r.git"),
        ("https://bot:hunter2@example.com:8443/r", "https://example.com:8443/r", "https://example.com:8443/r"),
        ("https://[2001:db8::1]/r", "https://[2001:db8::1]/r", "https://[2001:db8::1]/r"),
        ("ssh://git@example.com:22/o/r.git", "ssh://git@example.com:22/o/r.git", "ssh://example.com:22/o/r.git"),
        ("git@example.com:o/r.git", "git@example.com:o/r.git", "example.com:o/r.git"),
        ("file:///srv/git/r.git", "file:///srv/git/r.git", "file:///srv/git/r.git"),
        ("/srv/git/r.git", "file:///srv/git/r.git", "file:///srv/git/r.git"),
    ],
)
def test_a_url_is_given_to_git_without_password_and_shown_without_user(url: str, given: str, shown: str) -> None:
    location = git_location(url, "main", "manifests")
    assert (location.url, location.shown) == (given, shown)
    assert "hunter2" not in repr(location) + location.identity


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-uexec",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c id",
        "ext::id",
        "fd::7",
        "http://example.com/r.git",
        "git://example.com/r.git",
        "ftp://example.com/r",
        "ssh://-oProxyCommand=id/r",
        "ssh://-oProxyCommand=id@host/r",
        "ssh://git:hunter2@example.com/r",
        "-oProxyCommand=id:r",
        "https:///r",
        "https://[::1/r",
        "file://host/r",
        "../r.git",
        "r.git",
        "https://example.com/a b",
        "https://example.com/a\nb",
    ],
)
def test_other_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(StalledError, match="RECONCILER_GIT: ") as caught:
        git_location(url, "main", "manifests")
    assert caught.value.reason == "InvalidSetting"
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "ref", ["", "-x", "--all", "a..b", "a b", "a~1", "a^", "a:b", "*", "@", "@{u}", "x.lock", "a/", "/a"]
)
def test_what_git_would_not_take_as_a_reference_is_refused(ref: str) -> None:
    with pytest.raises(StalledError, match="RECONCILER_GIT_REF"):
        git_location("https://example.com/r", ref, "manifests")


@pytest.mark.parametrize("path", ["..", "a/../b", "/etc", "-x", "a/-x", "a//b", ".git/hooks", "a\\b", "a\nb"])
def test_a_path_that_leads_out_of_the_repository_is_refused(path: str) -> None:
    with pytest.raises(StalledError, match="RECONCILER_GIT_PATH"):
        git_location("https://example.com/r", "main", path)


@pytest.mark.parametrize(
    ("path", "kept"), [(".", ""), ("./manifests/", "manifests"), ("nodes/rack 1", "nodes/rack 1"), ("a.yaml", "a.yaml")]
)
def test_a_path_is_kept_in_its_plain_form(path: str, kept: str) -> None:
    assert git_location("https://example.com/r", "main", path).path == kept


def test_a_short_reference_is_a_branch_before_it_is_a_tag() -> None:
    assert git_location("https://example.com/r", "v1", ".").refs == ("refs/heads/v1", "refs/tags/v1")
    assert git_location("https://example.com/r", "refs/tags/v1", ".").refs == ("refs/tags/v1",)


def test_other_credentials_are_still_the_same_source() -> None:
    first = git_location("https://a:b@example.com/r", "main", "manifests")
    second = git_location("https://c@example.com/r", "main", "manifests")
    assert first.identity == second.identity == "git:https://example.com/r#main:manifests"
    assert first.folder_name == second.folder_name
    assert first.folder_name != git_location("https://example.com/r", "main", "other").folder_name


def test_a_credential_goes_to_its_own_host_alone() -> None:
    location = git_location("https://bot@example.com:8443/o/r.git", "main", ".")
    found = location.credential("hunter2")
    assert found is not None
    key, value = found
    assert key == "http.https://example.com:8443/.extraHeader"
    assert base64.b64decode(value.removeprefix("Authorization: Basic ")) == b"bot:hunter2"


def test_there_is_no_credential_for_ssh_or_without_a_token() -> None:
    assert git_location("git@example.com:o/r.git", "main", ".").credential("hunter2") is None
    assert git_location("https://example.com/r", "main", ".").credential(None) is None


def test_a_password_in_the_url_is_used_unless_a_token_is_set() -> None:
    location = git_location("https://bot:p%40ss@example.com/r", "main", ".")
    for token, wanted in ((None, b"bot:p@ss"), ("other", b"bot:other")):
        found = location.credential(token)
        assert found is not None
        assert base64.b64decode(found[1].removeprefix("Authorization: Basic ")) == wanted
