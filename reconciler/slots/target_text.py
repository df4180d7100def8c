"""Targets of slots as JSON values: what a process was started with must be read back exactly."""

from __future__ import annotations

from reconciler.core.desired import Runtime
from reconciler.core.digest import Digest, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.slot import AdapterTarget, Launch, SlotTarget


def encode_target(target: SlotTarget | None) -> object:
    """`target` as a JSON value. References to secrets are in it, secrets never are."""
    if target is None:
        return None
    value = {"model": target.model, **_encode_files(target.files)}
    return value if target.launch is None else {**value, "launch": _encode_launch(target.launch)}


def decode_target(value: object) -> SlotTarget | None:
    """The target that `value` stands for; raises ValueError, KeyError or TypeError if it is none."""
    match value:
        case None:
            return None
        case {"model": str(model), "launch": dict(launch)}:
            return SlotTarget(model, _decode_files(value, model), _decode_launch(launch))
        case {"model": str(model)}:
            return SlotTarget(model, _decode_files(value, model))
        case _:
            raise ValueError(f"wanted a target, got {value!r}")


def _encode_files(files: FileSet) -> dict[str, object]:
    return {"generation": files.id, "files": dict(files.files)}


def _decode_files(value: object, owner: str) -> FileSet:
    match value:
        case {"generation": str(generation), "files": dict(files)}:
            pairs = tuple(sorted((str(path), Digest(digest)) for path, digest in files.items()))
            if generation_id(pairs) != generation:
                raise ValueError(f"the files of {owner!r} are not those of generation {generation}")
            return FileSet(Digest(generation), pairs)
        case _:
            raise ValueError(f"wanted the files of {owner!r}, got {value!r}")


def _encode_launch(launch: Launch) -> object:
    runtime = launch.runtime
    return {
        "command": list(runtime.command),
        "env": [list(pair) for pair in runtime.env],
        "port": runtime.port,
        "health": runtime.health,
        "health_timeout_s": runtime.health_timeout_s,
        "model_path": launch.model_path,
        "mmproj_path": launch.mmproj_path,
        "adapters": [
            {"name": adapter.name, **_encode_files(adapter.files), "path": adapter.path, "scale": adapter.scale}
            for adapter in launch.adapters
        ],
    }


def _decode_launch(value: dict[str, object]) -> Launch:
    match value:
        case {
            "command": [str(), *_] as command,
            "env": list(env),
            "port": None | int() as port,
            "health": str(health),
            "health_timeout_s": (int() | float()) as health_timeout_s,
            "model_path": str(model_path),
            "mmproj_path": None | str() as mmproj_path,
            "adapters": list(adapters),
        }:
            words = tuple(str(word) for word in command)
            pairs = tuple((str(name), str(text)) for name, text in env)
            runtime = Runtime(words, pairs, port, health, float(health_timeout_s))
            return Launch(runtime, model_path, mmproj_path, tuple(_decode_adapter(each) for each in adapters))
        case _:
            raise ValueError(f"wanted a launch, got {value!r}")


def _decode_adapter(value: object) -> AdapterTarget:
    match value:
        case {"name": str(name), "path": str(path), "scale": (int() | float()) as scale}:
            return AdapterTarget(name, _decode_files(value, name), path, float(scale))
        case _:
            raise ValueError(f"wanted an adapter, got {value!r}")
