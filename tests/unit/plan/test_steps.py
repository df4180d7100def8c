"""How actions are named."""

from __future__ import annotations

from reconciler.core.desired import PrunePolicy
from reconciler.plan import slot_steps, steps
from tests.builders import ago, digest, files_of, target
from tests.builders import model as declared_model


def test_ids_are_made_from_content_alone() -> None:
    a, generation = digest("a"), files_of("a")

    assert steps.fetch_id(a) == f"fetch:{a}"
    assert (
        steps.write_entry_id("models/llama3:8b", generation.id) == f"write-entry:models/llama3:8b:{generation.id[:12]}"
    )
    assert steps.remove_entry_id("models/m") == "remove-entry:models/m"
    served = target(declared_model("m", "a"))
    switch = slot_steps.switch("chat", served, reason="New", message="")
    assert switch.id == f"switch-slot:chat:{generation.id[:12]}"
    assert slot_steps.move("old", "new").id == "move-slot:old:new"
    assert slot_steps.remove("chat").id == "remove-slot:chat"
    waiting = slot_steps.promote("chat", served, None, reason="New")
    assert waiting.id == slot_steps.promote("chat", served, "launch", reason="Healthy").id
    assert slot_steps.set_route("chat", 8080, None, reason="New").id == "set-route:chat:8080"
    assert slot_steps.set_route("chat", None, None, reason="Down").id == "set-route:chat:none"


def test_a_mark_has_the_same_id_at_any_time() -> None:
    one = steps.mark(digest("a"), ago(days=1), 5, PrunePolicy())
    two = steps.mark(digest("a"), ago(days=2), None, PrunePolicy())

    assert one.id == two.id
    assert "5 B" in one.message
    assert "bytes" in two.message
