"""Commands and environments of processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from reconciler.core.desired import Runtime
from reconciler.core.digest import Digest
from reconciler.core.errors import StalledError
from reconciler.core.slot import SlotTarget
from reconciler.slots.expand import adapter_paths, command_of, environment_of
from tests.fixtures.process_rig import file_set, target_of

MODEL = file_set("m.gguf").id
STYLE = file_set("a0.gguf").id, file_set("a1.gguf").id


def generation_path(generation: Digest) -> PurePosixPath:
    return PurePosixPath("/store", generation[:4])


def words(*command: str, scales: tuple[float, ...] = ()) -> tuple[str, ...]:
    return command_of(target_of(Runtime(command), scales=scales), 4711, generation_path)


def test_placeholders_stand_for_paths_and_the_port_also_inside_words() -> None:
    found = words("serve", "--model={model}", "--listen", "127.0.0.1:{port}", "{port}{port}")
    assert found == ("serve", f"--model=/store/{MODEL[:4]}/m.gguf", "--listen", "127.0.0.1:4711", "47114711")


def test_other_braces_stay_as_they_are() -> None:
    assert words("serve", '{"a": {}}', "{home}", "{}") == ("serve", '{"a": {}}', "{home}", "{}")


def test_what_a_placeholder_stands_for_is_not_expanded_again() -> None:
    target = target_of(Runtime(("serve", "{model}")), "m.gguf")
    assert target.launch is not None
    odd = replace(target, launch=replace(target.launch, model_path="{port}.gguf"))
    assert command_of(odd, 1, generation_path)[1].endswith("/{port}.gguf")


def test_adapters_become_one_pair_of_words_in_order() -> None:
    found = words("serve", "{adapters}", "--port", "{port}", scales=(0.8, 1.0))
    one, two = (f"/store/{generation[:4]}/a{i}.gguf" for i, generation in enumerate(STYLE))
    assert found == ("serve", "--lora-scaled", f"{one}:0.8,{two}:1.0", "--port", "4711")
    assert adapter_paths(target_of(Runtime(("x",)), scales=(0.8, 1.0)), generation_path) == (one, two)


def test_no_adapters_become_no_word() -> None:
    assert words("serve", "{adapters}", "end") == ("serve", "end")


def test_adapters_can_not_be_part_of_a_word() -> None:
    with pytest.raises(StalledError) as caught:
        words("serve", "--lora={adapters}", scales=(1.0,))
    assert caught.value.reason == "CannotStart"


def test_a_path_that_llama_server_would_split_is_refused() -> None:
    target = target_of(Runtime(("serve", "{adapters}")), scales=(1.0,))
    with pytest.raises(StalledError) as caught:
        command_of(target, 1, lambda _: PurePosixPath("/disk:1"))
    assert caught.value.reason == "CannotStart"
    assert "/disk:1/a0.gguf" in caught.value.message


def test_a_model_without_projector_has_nothing_for_its_placeholder() -> None:
    with pytest.raises(StalledError) as caught:
        words("serve", "--mmproj", "{mmproj}")
    assert caught.value.reason == "CannotStart"
    assert "mmproj" in (caught.value.hint or "")


def test_a_projector_is_found_beside_its_model() -> None:
    target = target_of(Runtime(("serve", "{mmproj}")))
    assert target.launch is not None
    seeing = replace(target, launch=replace(target.launch, mmproj_path="mmproj-f16.gguf"))
    assert command_of(seeing, 1, generation_path)[1] == f"/store/{MODEL[:4]}/mmproj-f16.gguf"


def test_files_alone_have_no_command() -> None:
    with pytest.raises(StalledError):
        command_of(SlotTarget("m", file_set("m.gguf")), 1, generation_path)


def test_only_the_basics_are_inherited_and_secrets_are_resolved() -> None:
    secrets = {"env:KEY": "s1", "file:/k": "s2"}
    found = environment_of(
        (("A", "env:KEY"), ("B", "file:/k"), ("C", "plain"), ("HOME", "/elsewhere")),
        {"PATH": "/bin", "HOME": "/root", "KEY": "s1", "LD_PRELOAD": "x"},
        secrets.get,
    )
    assert found == {"PATH": "/bin", "HOME": "/elsewhere", "A": "s1", "B": "s2", "C": "plain"}


def test_a_missing_secret_is_named_by_its_reference() -> None:
    with pytest.raises(StalledError) as caught:
        environment_of((("TOKEN", "env:KEY"),), {}, lambda _: None)
    assert (caught.value.reason, "env:KEY" in caught.value.message) == ("CannotStart", True)


def test_a_secret_that_can_not_be_read_keeps_its_hint() -> None:
    def unreadable(_: str) -> str | None:
        raise StalledError("the secret at file:/k can't be read", reason="SecretUnreadable", hint="chmod")

    with pytest.raises(StalledError) as caught:
        environment_of((("TOKEN", "file:/k"),), {}, unreadable)
    assert (caught.value.reason, caught.value.hint) == ("CannotStart", "chmod")
