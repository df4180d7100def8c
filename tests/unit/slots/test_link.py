from __future__ import annotations

from pathlib import Path

from reconciler import durable
from reconciler.cas.files import FileBlobStore
from reconciler.core.digest import digest_of
from reconciler.core.slot import SlotRecord
from reconciler.slots.link import LinkDriver
from reconciler.slots.records import FileSlotRecords

ONE, TWO = digest_of(b"one"), digest_of(b"two")


def test_a_slot_is_a_link_to_the_generation(tmp_path: Path) -> None:
    LinkDriver(tmp_path, FileBlobStore(tmp_path / "store")).switch("chat", ONE)
    assert (tmp_path / "slots" / "chat").readlink() == Path(f"../store/generations/{ONE}")


def test_records_beside_the_links_are_no_slots(tmp_path: Path) -> None:
    driver = LinkDriver(tmp_path, FileBlobStore(tmp_path / "store"))
    driver.switch("chat", ONE)
    FileSlotRecords(tmp_path).save(SlotRecord("chat"))
    assert driver.serving() == {"chat": ONE}


def test_readers_find_the_old_model_or_the_new_one_at_every_moment_of_a_switch(tmp_path: Path) -> None:
    driver = LinkDriver(tmp_path, FileBlobStore(tmp_path / "store"))
    driver.switch("chat", ONE)
    seen: set[str] = set()

    def look(_: str) -> None:
        seen.add((tmp_path / "slots" / "chat").readlink().name)

    durable.on_effect = look
    try:
        driver.switch("chat", TWO)
    finally:
        durable.on_effect = None

    assert seen == {ONE, TWO}


def test_looking_creates_nothing(tmp_path: Path) -> None:
    driver = LinkDriver(tmp_path / "state", FileBlobStore(tmp_path / "state" / "store"))
    driver.serving()
    driver.remove("chat")
    assert list(tmp_path.iterdir()) == []
