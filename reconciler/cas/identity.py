"""Whether the folder is the store it was opened as: an unmounted disk must not look like an empty store."""

from __future__ import annotations

import os

from reconciler import durable
from reconciler.cas import layout
from reconciler.core.errors import StalledError, StoreMissingError


class StoreIdentity:
    """The `store.json` of one folder, and the id that changes are bound to.

    The first change binds this object to the id it finds; from then on a folder with another id
    is not the store, whoever mounted it there. Looking binds nothing: observation may find the
    wrong disk first and the right one later.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._file = f"{root}/{layout.STORE_FILE}"
        self._bound_id: str | None = None
        self._seen: tuple[int, int] | None = None

    def read(self) -> str | None:
        """The id in `store.json`; None if there is none. Raises StalledError if it can't be understood."""
        data = durable.read_file(self._file)
        if data is None:
            return None
        try:
            found = layout.decode_store_file(data)
        except ValueError as error:
            raise StoreMissingError(
                f"{self._file} does not say which store this is: {error}",
                hint=f"write it again with the store's id and format_version {layout.FORMAT_VERSION}",
            ) from error
        if found.store_id is None:
            raise StalledError(
                f"the store {self._root} has format {found.format_version}, wanted {layout.FORMAT_VERSION}",
                reason="StoreNewer",
                hint="use the version of this program that wrote it",
            )
        return found.store_id

    def create(self, store_id: str) -> None:
        """The folders exist and, written last, `store.json` with `store_id`."""
        found = self.read()
        if found is None:
            if self._bound_id is not None:
                raise self._missing()
            self._make_folders()
            durable.write_atomic(self._file, layout.encode_store_file(store_id))
        elif found != store_id:
            raise self._another(wanted=store_id, got=found)
        self._bound_id = store_id
        self.require()

    def require(self) -> None:
        """The folder is the store; one stat(2) if it is the folder it was last time.

        A device number may change when a disk is mounted again: then the id decides.
        """
        seen = self._look()
        if seen is not None and seen == self._seen:
            return
        store_id = None if seen is None else self.read()
        if store_id is None:
            raise self._missing()
        if self._bound_id not in (None, store_id):
            raise self._another(wanted=self._bound_id, got=store_id)
        self._make_folders()
        self._bound_id, self._seen = store_id, seen

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._root)  # noqa: PTH116 - twice for every file: a Path costs as much again
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _make_folders(self) -> None:
        for name in layout.FOLDERS:
            durable.make_folder(f"{self._root}/{name}")

    def _missing(self) -> StoreMissingError:
        return StoreMissingError(
            f"there is no store at {self._root}",
            hint="mount the disk it lies on, or name its place with --store-dir",
        )

    def _another(self, *, wanted: str | None, got: str) -> StoreMissingError:
        return StoreMissingError(
            f"the store at {self._root} is another one: wanted id {wanted}, got {got}",
            hint="mount the right disk, or name its place with --store-dir",
        )
