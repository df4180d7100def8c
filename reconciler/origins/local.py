"""Files of this machine that may be adopted."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.errors import StalledError
from reconciler.core.source import LocalFile


def adoptable_path(source: LocalFile, file_roots: tuple[str, ...]) -> str:
    """The file's real path, inside the real folder of its manifest or one of `file_roots`.

    Raises StalledError (reason `PathNotAllowed`): a manifest from git must not be able to publish
    any file that the node can read.
    """
    real = _real(source.path)
    if any(real.is_relative_to(_real(root)) for root in (source.root, *file_roots)):
        return str(real)
    raise StalledError(
        f"{source.path} is outside the manifest's folder {source.root}"
        + (f": it really is {real}" if str(real) != source.path else ""),
        reason="PathNotAllowed",
        hint="move the file there, or name its folder in RECONCILER_FILE_ROOTS",
    )


def _real(path: str) -> Path:
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:
        raise StalledError(f"{path} can't be followed: {error}", reason="SourceMissing") from error
