"""Slots, adapters and moves: what refers to something else by name."""

from __future__ import annotations

from itertools import pairwise

import pytest

from reconciler.core.desired import Move, SlotSpec
from tests.unit.manifest.trees import A, body, desired, error, errors, file, hint, reasons

MODEL = f"source: https://x.io/a.gguf, sha256: {A}"
MODELS = f"models:\n  new: {{{MODEL}}}\n  other: {{{MODEL}}}\n"


def test_slots_name_a_declared_model() -> None:
    text = MODELS + "slots:\n  chat: {model: new, default: true}\n  code: {model: new, default: false}\n"
    assert desired(body(text)).slots == {
        "chat": SlotSpec("chat", "new", default=True),
        "code": SlotSpec("code", "new"),
    }


def test_a_dangling_slot_is_refused_at_its_value() -> None:
    text = body(MODELS + "slots:\n  chat:\n    model: othr\n")
    assert error(text) == "m/a.yaml:7:12: slots.chat.model: wanted the name of a declared model, got 'othr'"
    assert hint(text) == "did you mean 'other'?"
    assert reasons(text) == ["DanglingReference"]
    assert hint(body("slots: {chat: {model: zzz}}\n")) is None


def test_a_dangling_adapter_is_refused_at_its_value() -> None:
    text = f"adapters:\n  a: {{base: nope, {MODEL}}}\n"
    assert error(body(text)) == "m/a.yaml:3:13: adapters.a.base: wanted the name of a declared model, got 'nope'"


def test_a_model_that_is_declared_badly_is_declared() -> None:
    assert reasons(body("models:\n  m: 5\nslots:\n  chat: {model: m}\n")) == ["BadValue"]
    assert (
        reasons(body("models:\n  m: {source: oci://x}\nslots:\n  chat: {model: m}\n"))
        == ["UnsupportedValue", "Unpinned"][::-1]
    )


def test_models_and_slots_may_stand_in_different_files_in_any_order() -> None:
    slots = file("apiVersion: reconciler/v1\nslots: {chat: {model: new}}\n", "m/1.yaml")
    models = file(f"apiVersion: reconciler/v1\n{MODELS}", "m/2.yaml")
    assert desired(slots, models).slots["chat"].model == "new"


def test_at_most_one_slot_is_the_default() -> None:
    text = MODELS + "slots:\n  a: {model: new, default: true}\n  b: {model: new, default: true}\n"
    assert error(body(text)) == (
        "m/a.yaml:7:28: slots.b.default: at most one slot is the default, and one is already at m/a.yaml:6:28"
    )


# ---- a syntax error hides only the rest of its own file ---------------------------------------


def test_what_a_broken_file_may_declare_is_not_called_dangling() -> None:
    broken = file("apiVersion: reconciler/v1\nmodels:\n  early: }\n  late: {}\n", "m/broken.yaml")
    other = file(
        "apiVersion: reconciler/v1\nslots:\n  a: {model: late}\n  b: {model: nowhere}\n"
        "models:\n  m: {catalog: late}\nmoved:\n- {from: models/x, to: models/late}\n",
        "m/other.yaml",
    )
    assert [message.split(": ")[0] for message in errors(broken, other)] == ["m/broken.yaml:3:10", "m/other.yaml:4:14"]


def test_what_is_cut_by_a_syntax_error_is_not_called_incomplete() -> None:
    cut = f"models:\n  whole: {{{MODEL}}}\n  cut:\n    source: https://x.io/b\n    }}\n"
    assert reasons(body(cut)) == ["SyntaxError"]
    assert reasons(body("moved:\n- from: models/a\n  }\n")) == ["SyntaxError"]
    assert reasons(body("models:\n  m:\n    sources: [\n    }\n")) == ["SyntaxError"]
    assert reasons(body("models:\n  m:\n    source: https://x.io/b\n    files: {\n    ]\n")) == ["SyntaxError"]
    assert reasons(file("models: {}\n}\n")) == ["SyntaxError"]


def test_what_stands_before_a_syntax_error_is_checked() -> None:
    assert reasons(body("concurrency: {max: two}\nmodels: }\n")) == ["BadValue", "SyntaxError"]


# ---- moved -----------------------------------------------------------------------------------


def moves(*entries: tuple[str, str]) -> str:
    return MODELS + "slots: {chat: {model: new}}\nmoved:\n" + "".join(f"- {{from: {a}, to: {b}}}\n" for a, b in entries)


def test_moves_are_read() -> None:
    text = moves(("models/old", "models/new"), ("slots/talk", "slots/chat"))
    assert desired(body(text)).moves == (Move("models/old", "models/new"), Move("slots/talk", "slots/chat"))


def test_moves_in_a_row_lead_to_where_the_thing_is_now() -> None:
    text = moves(("models/a", "models/b"), ("models/b", "models/new"))
    assert desired(body(text)).moves == (Move("models/a", "models/new"), Move("models/b", "models/new"))


def test_a_long_row_of_moves_is_followed() -> None:
    row = [*(f"models/m{i}" for i in range(3_000)), "models/new"]
    read = desired(body(moves(*pairwise(row)))).moves
    assert {move.target for move in read} == {"models/new"}
    assert len(read) == 3_000


def test_moves_in_several_files_add_up() -> None:
    first = body(moves(("models/a", "models/new")))
    second = file("apiVersion: reconciler/v1\nmoved: [{from: models/b, to: models/new}]\n", "m/b.yaml")
    assert len(desired(first, second).moves) == 2


def test_the_target_of_a_move_is_declared() -> None:
    assert error(body(moves(("models/old", "models/nope")))) == (
        "m/a.yaml:7:26: moved[0].to: wanted something that is declared, got 'models/nope'"
    )


def test_a_dangling_end_of_moves_in_a_row_is_reported_once() -> None:
    assert error(body(moves(("models/a", "models/b"), ("models/b", "models/nope")))).startswith("m/a.yaml:8:24: ")


def test_what_was_moved_is_declared_no_more() -> None:
    assert error(body(moves(("models/other", "models/new")))) == (
        "m/a.yaml:7:10: moved[0].from: 'models/other' is still declared, so it was not moved"
    )


def test_a_thing_is_moved_once() -> None:
    text = moves(("models/old", "models/new"), ("models/old", "models/other"))
    assert error(body(text)) == "m/a.yaml:8:10: moved[1].from: it is already moved at m/a.yaml:7:10"


def test_moves_in_a_circle_are_refused_at_each_of_them() -> None:
    text = moves(("models/a", "models/b"), ("models/b", "models/a"), ("models/c", "models/a"), ("models/s", "models/s"))
    assert errors(body(text)) == [
        "m/a.yaml:7:24: moved[0].to: the moves go in a circle: 'models/a' → 'models/b' → 'models/a'",
        "m/a.yaml:8:24: moved[1].to: the moves go in a circle: 'models/a' → 'models/b' → 'models/a'",
        "m/a.yaml:10:24: moved[3].to: the moves go in a circle: 'models/s' → 'models/s'",
    ]


def test_a_model_does_not_become_a_slot() -> None:
    assert error(body(moves(("models/old", "slots/chat")))) == (
        "m/a.yaml:7:26: moved[0].to: wanted models/NAME, as it was before, got 'slots/chat'"
    )


@pytest.mark.parametrize("ref", ["old", "models/", "models/a/b", "things/a", "slots/UPPER", "/a"])
def test_both_ends_of_a_move_are_references(ref: str) -> None:
    assert error(body(moves((ref, "models/new")))) == (
        f"m/a.yaml:7:10: moved[0].from: wanted models/NAME, adapters/NAME or slots/NAME, got {ref!r}"
    )


def test_a_move_has_both_ends() -> None:
    text = "moved:\n- {from: models/a}\n- 5\n"
    assert errors(body(text)) == [
        "m/a.yaml:3:3: moved[0]: the key 'to' is missing",
        "m/a.yaml:4:3: moved[1]: wanted a map, got '5'",
    ]
