"""Reloading: which of the settings that changed hold at once, and which need a new start of `serve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from reconciler.settings import Settings, variable_of


class Effect(Enum):
    """When a changed setting holds."""

    AT_ONCE = auto()
    AT_START = auto()
    NEVER = auto()
    """`serve` does not use it."""


EFFECTS: Mapping[str, Effect] = {
    "state_dir": Effect.AT_START,
    "store_dir": Effect.AT_START,
    "timeout_s": Effect.NEVER,
    "offline": Effect.AT_START,
    "wait": Effect.NEVER,
    "hf_token": Effect.AT_ONCE,
    "hf_endpoint": Effect.AT_START,
    "file_roots": Effect.AT_START,
    "preflight": Effect.AT_START,
    "output": Effect.NEVER,
    "no_color": Effect.NEVER,
    "listen": Effect.AT_START,
    "api_token": Effect.AT_START,
    "api_hosts": Effect.AT_START,
    "git": Effect.AT_START,
    "git_ref": Effect.AT_START,
    "git_path": Effect.AT_START,
    "git_interval_s": Effect.AT_START,
    "git_token": Effect.AT_ONCE,
    "git_signers": Effect.AT_START,
    "runtimes": Effect.AT_ONCE,
    "progress_budget": Effect.AT_ONCE,
    "progress_disk": Effect.AT_ONCE,
    "notify_url": Effect.AT_START,
    "notify_secret": Effect.AT_ONCE,
    "log_format": Effect.AT_START,
    "log_level": Effect.AT_ONCE,
    "env_file": Effect.AT_START,
    "project_id": Effect.AT_START,
    "against": Effect.NEVER,
    "against_token": Effect.NEVER,
}


@dataclass(frozen=True, slots=True)
class Reload:
    """What became of the settings that changed, by the names of their variables, sorted."""

    settings: Settings
    """What holds from now on."""
    applied: tuple[str, ...] = ()
    restart_required: tuple[str, ...] = ()


def reload(held: Settings, found: Settings) -> Reload:
    """What holds after `found` was read while `held` held."""
    changed = [name for name in EFFECTS if getattr(held, name) != getattr(found, name)]
    now = [name for name in changed if EFFECTS[name] is Effect.AT_ONCE]
    later = [name for name in changed if EFFECTS[name] is Effect.AT_START]
    settings = held.model_copy(update={name: getattr(found, name) for name in now})
    return Reload(settings, tuple(sorted(map(variable_of, now))), tuple(sorted(map(variable_of, later))))
