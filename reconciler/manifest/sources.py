"""A source as written to the value that says where bytes are."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, urlsplit, urlunsplit

from reconciler.core.source import LocalFile, Source, WebFile, hugging_face_file, web_file
from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.problems import Reason, shown
from reconciler.manifest.scalars import BadValueError
from reconciler.manifest.tree import ManifestFile

_LATER = frozenset(["oci", "ollama", "s3"])
_WANTED = "https://…, http://…, hf://ORG/REPO@COMMIT/PATH or file:PATH"


_USUAL_URL = re.compile(
    r"https?://[A-Za-z0-9.-]+(?::[1-9][0-9]{0,3})?/(?:[A-Za-z0-9._~%-]*/)*([A-Za-z0-9._~%-]*)"
).fullmatch
"""Certainly a URL, and its basename; only other texts need the slow look that finds out what is wrong."""


def read_source(node: ScalarNode, file: ManifestFile, path: str | None) -> Source:
    """The source that `node` of `file` names; raises BadValueError.

    With `path`, the text is the prefix of a model with several files and `path` is one of them.
    """
    text = node.text
    scheme, colon, _ = text.partition(":")
    if text.startswith(("https://", "http://")):
        return _web(text, path)
    if text.startswith("hf://"):
        return _hugging_face(text, path)
    if text.startswith("file:"):
        return _local(text, file, path)
    if colon and scheme in _LATER:
        message = f"sources of the kind {scheme}:// are not supported by this version; wanted {_WANTED}"
        raise BadValueError(message, reason=Reason.UNSUPPORTED_VALUE)
    raise BadValueError(f"wanted {_WANTED}, got {shown(text)}")


def basename(source: Source) -> str:
    """The last part of the path of `source`; empty if there is none."""
    usual = _USUAL_URL(source.url) if isinstance(source, WebFile) else None
    return usual[1] if usual else source.basename


def _web(text: str, path: str | None) -> Source:
    try:
        url = text if path is None else _appended(text, path)
        return WebFile(url) if _USUAL_URL(url) else web_file(url)
    except ValueError as error:
        if _has_no_port(text):
            raise BadValueError("the port in the URL is not one from 1 to 65535") from error
        raise BadValueError("wanted a URL such as https://example.com/model.gguf, without spaces") from error


def _has_no_port(url: str) -> bool:
    """Whether what stands in the place of a port is none; it is not shown, for it may be a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    try:
        return parts.port == 0
    except ValueError:
        return True


def _appended(text: str, path: str) -> str:
    parts = urlsplit(text)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(path)}"))


def _hugging_face(text: str, path: str | None) -> Source:
    try:
        return hugging_face_file(text, path)
    except ValueError as error:
        raise BadValueError(str(error)) from error


def _local(text: str, file: ManifestFile, path: str | None) -> Source:
    location = text.removeprefix("file:")
    if location.startswith("//"):
        host, _, absolute = location[2:].partition("/")
        if host:
            raise BadValueError(f"wanted a file on this machine, got {shown(text)}", "write file:PATH or file:///PATH")
        location = "/" + absolute.lstrip("/")
    if not location:
        raise BadValueError("wanted a path after file:, got nothing")
    if path is None and location.endswith("/"):
        raise BadValueError(f"wanted a file, got the folder {shown(text)}", "name its files under `files`")
    return LocalFile(posixpath.normpath(posixpath.join(file.folder, location, path or "")), file.root)
