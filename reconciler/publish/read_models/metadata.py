"""`models/<id>/metadata`: what the model record on disk says."""

from __future__ import annotations

from reconciler.core.digest import Digest
from reconciler.core.entry import entry_file
from reconciler.publish.read_models.view import JsonObject, View


def metadata_item(name: str, view: View) -> JsonObject | None:
    """The fields of `models/<name>.json`; None while no model is registered by that name."""
    found = view.status.observed.entries.get(f"models/{name}")
    if found is None:
        return None
    spec = found.entry.spec
    main = entry_file(spec)
    sizes = {file.digest: _size(file.digest, view) for file in spec.files}
    return {
        "id": spec.name,
        "file": main.digest,
        "name": spec.display_name or main.path.rpartition("/")[2],
        "path": _path(main.digest, view),
        "url": _url(name, main.digest, view),
        "sha256": main.digest,
        "cas": "sha256",
        "bytes": sizes[main.digest],
        "provider": spec.provider,
        "verified": True,
        "files": [
            {
                "name": file.path,
                "path": _path(file.digest, view),
                "sha256": file.digest,
                "bytes": sizes[file.digest],
                "role": file.role.value,
            }
            for file in spec.files
        ],
    }


def _size(digest: Digest, view: View) -> int | None:
    blob = view.status.observed.blobs.get(digest)
    if blob is None:
        return None
    return blob.size_bytes if blob.row is None or blob.row.size_bytes is None else blob.row.size_bytes


def _path(digest: Digest, view: View) -> str:
    store = view.machine.directory("store")
    return f"by-hash/{digest}" if store is None else f"{store}/by-hash/{digest}"


def _url(name: str, digest: Digest, view: View) -> str | None:
    """Where the bytes come from, redacted; None if no manifest names them any more."""
    spec = view.status.desired.models.get(name)
    files = spec.files if spec is not None else ()
    return next((file.sources[0].redacted for file in files if file.digest == digest), None)
