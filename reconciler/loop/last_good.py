"""The last good revision: the manifests' text as it was last accepted, kept to prune and collect by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.errors import StalledError
from reconciler.durable import read_file, write_atomic
from reconciler.manifest.tree import Layer, LockFile, ManifestFile

FORMAT = 1


@dataclass(frozen=True, slots=True)
class AcceptedRevision:
    """What a converge accepted."""

    layers: tuple[Layer, ...]
    paths: tuple[str, ...]
    """PATHS as sorted real paths."""
    withdrawn: bool
    """Every document was taken away later and a person confirmed that: of `layers` only the policies still hold."""


class LastGood:
    """`<state_dir>/last-good.json`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> AcceptedRevision | None:
        """The revision; None if none was ever accepted. Raises StalledError (reason `LastGoodUnreadable`)."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StalledError(
                f"{self._path}: cannot read the last good revision: {error}",
                reason="LastGoodUnreadable",
                hint="move the file aside and run a converge with the real manifests",
            ) from error

    def exists(self) -> bool:
        """Whether a revision was ever accepted."""
        return self._path.exists()

    def write(self, revision: AcceptedRevision) -> None:
        """The revision is durable; a file that says the same already is left alone."""
        data = _encode(revision)
        if read_file(self._path) != data:
            write_atomic(self._path, data, mode=0o600)  # a copy must not be readable for more than the manifests are


def _encode(revision: AcceptedRevision) -> bytes:
    document = {
        "format": FORMAT,
        "paths": revision.paths,
        "withdrawn": revision.withdrawn,
        "layers": [
            {
                "name": layer.name,
                "files": [[f.label, f.folder, f.root, _text(f.text)] for f in layer.files],
                "locks": [[f.label, f.root, _text(f.text)] for f in layer.locks],
            }
            for layer in revision.layers
        ],
    }
    return json.dumps(document, sort_keys=True).encode()


def _decode(data: bytes) -> AcceptedRevision:
    found = json.loads(data)
    if found["format"] != FORMAT:
        raise ValueError(f"wanted format {FORMAT}, got {found['format']!r}")
    layers = tuple(_layer(item) for item in found["layers"])
    return AcceptedRevision(layers, tuple(found["paths"]), bool(found["withdrawn"]))


def _layer(item: dict[str, list[list[str]]]) -> Layer:
    files = tuple(ManifestFile(label, folder, root, _bytes(text)) for label, folder, root, text in item["files"])
    locks = tuple(LockFile(label, _bytes(text), root) for label, root, text in item["locks"])
    return Layer(str(item["name"]), files, locks)


def _text(data: bytes) -> str:
    """Any bytes as text that JSON can hold: a manifest need be neither UTF-8 nor right."""
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
