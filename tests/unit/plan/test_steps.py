"""How actions are named."""

from __future__ import annotations

from reconciler.core.desired import PrunePolicy
from reconciler.plan import steps
from tests.builders import ago, digest, files_of, target
from tests.builders import model as declared_model


def test_ids_are_made_from_content_alone() -> None:
    a, generation = digest("a"), files_of("a")

    assert steps.fetch_id(a) == f"fetch:{a}"
    assert (
        steps.write_entry_id("models/llama3:8b", generation.id) == f"write-entry:models/llama3:8b:{generation.id[:12]}"
    )
    assert steps.remove_entry_id("models/m") == "remove-entry:models/m"
    assert steps.switch_slot_id("chat", generation.id) == f"switch-slot:chat:{generation.id[:12]}"
    assert steps.move_slot_id("old", "new") == "move-slot:old:new"
    assert steps.remove_slot_id("chat") == "remove-slot:chat"
    assert steps.remove_slot("chat").id == "remove-slot:chat"
    assert steps.switch_slot(
        "chat", target(declared_model("m", "a")), reason="New", message="", depends_on=()
    ).id == steps.switch_slot_id("chat", generation.id)


def test_a_mark_has_the_same_id_at_any_time() -> None:
    one = steps.mark(digest("a"), ago(days=1), 5, PrunePolicy())
    two = steps.mark(digest("a"), ago(days=2), None, PrunePolicy())

    assert one.id == two.id
    assert "5 B" in one.message
    assert "bytes" in two.message
