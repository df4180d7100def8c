"""Placeholders in a slot's command, and what a process finds in its environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from reconciler.core.digest import Digest
from reconciler.core.errors import StalledError
from reconciler.core.slot import SlotTarget
from reconciler.slots.identity import MARK

BASICS = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""What a process inherits: who it runs as and how it speaks. Everything else is declared, or a restart by
another route (systemd, a shell, CI) would make another process of the same manifest."""

SLOT = "RECONCILER_SLOT"
_PLACEHOLDER = re.compile(r"\{(model|mmproj|adapters|port)\}")
_ADAPTERS = "{adapters}"
_NOT_IN_ADAPTER = re.compile(r'[:,"]')

GenerationPath = Callable[[Digest], PurePosixPath]
ResolveSecret = Callable[[str], str | None]


def adapter_paths(target: SlotTarget, generation_path: GenerationPath) -> tuple[str, ...]:
    """The absolute path of each adapter, in order."""
    adapters = target.launch.adapters if target.launch is not None else ()
    return tuple(str(generation_path(adapter.files.id) / adapter.path) for adapter in adapters)


def command_of(target: SlotTarget, port: int, generation_path: GenerationPath) -> tuple[str, ...]:
    """The words of the command, every placeholder replaced once.

    `{adapters}` must be a word of its own. It becomes `--lora-scaled PATH:SCALE,PATH:SCALE` (the form of
    llama-server since December 2025, ids in this order), or no word at all if the slot has no adapters.
    Raises StalledError (reason `CannotStart`).
    """
    launch = target.launch
    if launch is None:
        raise _cannot_start(f"a slot of {target.model!r} has no command: it is files only")
    folder = generation_path(target.files.id)
    values = {
        "model": str(folder / launch.model_path),
        "mmproj": None if launch.mmproj_path is None else str(folder / launch.mmproj_path),
        "port": str(port),
    }
    words: list[str] = []
    for word in launch.runtime.command:
        if word == _ADAPTERS:
            words += _adapter_words(adapter_paths(target, generation_path), launch.scales)
        else:
            words.append(_PLACEHOLDER.sub(lambda found: _value(values, found[1], target.model), word))
    return tuple(words)


def environment_of(
    declared: tuple[tuple[str, str], ...], inherited: Mapping[str, str], resolve_secret: ResolveSecret
) -> dict[str, str]:
    """The basics of `inherited` and what is declared, references replaced by their secrets.

    It goes to the process and nowhere else. Raises StalledError (reason `CannotStart`) for a secret that is missing.
    """
    environment = {name: inherited[name] for name in BASICS if name in inherited}
    for name, value in declared:
        environment[name] = _secret(name, value, resolve_secret) if value.startswith(("env:", "file:")) else value
    return environment


def marks(slot: str, launch_id: str) -> dict[str, str]:
    """What a process is recognised by."""
    return {MARK: launch_id, SLOT: slot}


def _secret(name: str, reference: str, resolve_secret: ResolveSecret) -> str:
    try:
        secret = resolve_secret(reference)
    except StalledError as error:
        raise _cannot_start(f"{name} can't be set: {error.message}", error.hint) from error
    if secret is None:
        hint = "set it in the environment of this program, or change the slot's `env`"
        raise _cannot_start(f"{name} can't be set: there is nothing at {reference}", hint)
    return secret


def _value(values: Mapping[str, str | None], name: str, model: str) -> str:
    if name == "adapters":
        raise _cannot_start("{adapters} must be a word of its own: it becomes several words, or none")
    value = values[name]
    if value is None:
        hint = f"give a file of {model!r} the role `{name}`, or take {{{name}}} out of the command"
        raise _cannot_start(f"the model {model!r} has no file for {{{name}}}", hint)
    return value


def _adapter_words(paths: tuple[str, ...], scales: tuple[float, ...]) -> tuple[str, ...]:
    if not paths:
        return ()
    for path in paths:
        if found := _NOT_IN_ADAPTER.search(path):
            hint = "choose another --store-dir"
            raise _cannot_start(f"llama-server can't be given the adapter {path}: it has {found[0]!r} in it", hint)
    return "--lora-scaled", ",".join(f"{path}:{scale!r}" for path, scale in zip(paths, scales, strict=True))


def _cannot_start(message: str, hint: str | None = None) -> StalledError:
    return StalledError(message, reason="CannotStart", hint=hint)
