from __future__ import annotations

from reconciler import __version__
from reconciler.publish.machine import Machine, this_machine


def test_this_machine_has_processors_memory_and_versions() -> None:
    found = this_machine({"store": "/srv/store", "state": "/var/lib/r"})

    assert found.cpus is not None
    assert found.cpus >= 1
    assert found.memory_bytes is None or found.memory_bytes > 2**20
    assert dict(found.versions)["reconciler"] == __version__
    assert found.directories == (("state", "/var/lib/r"), ("store", "/srv/store"))


def test_a_directory_is_found_by_its_name() -> None:
    machine = Machine(directories=(("store", "/srv/store"),))

    assert machine.directory("store") == "/srv/store"
    assert machine.directory("state") is None
