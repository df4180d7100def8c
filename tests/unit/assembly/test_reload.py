"""What a reload says follows from what really changed."""

from __future__ import annotations

from pathlib import Path

from reconciler.assembly.reload import EFFECTS, Effect, reload
from reconciler.settings import Settings

OLD = Settings(state_dir=Path("/state"), store_dir=Path("/store"))


def test_every_setting_has_an_effect() -> None:
    assert EFFECTS.keys() == Settings.model_fields.keys()


def test_nothing_changed() -> None:
    found = reload(OLD, OLD.model_copy())
    assert (found.settings, found.applied, found.restart_required) == (OLD, (), ())


def test_what_can_hold_at_once_does_and_the_rest_stays() -> None:
    new = OLD.model_copy(
        update={"runtimes": ("llama-server",), "listen": "127.0.0.1:1", "git_interval_s": 5.0, "wait": True}
    )
    found = reload(OLD, new)
    assert found.applied == ("RECONCILER_RUNTIMES",)
    assert found.restart_required == ("RECONCILER_GIT_INTERVAL", "RECONCILER_LISTEN")
    assert found.settings == OLD.model_copy(update={"runtimes": ("llama-server",)})


def test_a_restart_stays_required_until_it_happens() -> None:
    new = OLD.model_copy(update={"listen": "127.0.0.1:1"})
    once = reload(OLD, new)
    assert reload(once.settings, new).restart_required == ("RECONCILER_LISTEN",)


def test_secrets_are_settings_by_reference_and_hold_at_once() -> None:
    assert {name for name, effect in EFFECTS.items() if effect is Effect.AT_ONCE} >= {"hf_token", "git_token"}
