"""The files of a declared model or adapter: where each comes from and what it is called."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.desired import FileSpec
from reconciler.core.names import disk_key, path_problem
from reconciler.core.source import Source
from reconciler.manifest.context import Context
from reconciler.manifest.fields import BYTES, FILES, NAME, ROLE, SHA256, SOURCE, SOURCES
from reconciler.manifest.pins import WrittenSource, find_pin
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.roles import role_of
from reconciler.manifest.scalars import BadValueError
from reconciler.manifest.shapes import Found, Held
from reconciler.manifest.sources import basename, read_source

Sources = tuple[WrittenSource, ...]


def read_files(found: Found, context: Context) -> tuple[FileSpec, ...]:
    """The files that `found` declares; empty if something is wrong with them, which is then reported."""
    check_exclusive(found, context.problems)
    written = _written_sources(found, context.problems)
    if not written:
        return ()
    entries = found.get(FILES)
    if entries is not None:
        return _several_files(entries, written, context)
    file = _single_file(found, written, context) if found.lacks(FILES) else None
    return () if file is None else (file,)


def check_exclusive(found: Found, problems: Problems) -> None:
    """No two keys of `found` contradict each other, or that is reported."""
    held = found.held
    if SOURCE.name in held and SOURCES.name in held:
        _add_at_key(held[SOURCES.name], "wanted source or sources, got both", problems)
    if FILES.name in held:
        for name in (SHA256.name, BYTES.name):
            if name in held:
                _add_at_key(held[name], f"where there are files, each of them has its own {name}", problems)


def _add_at_key(held: Held, message: str, problems: Problems) -> None:
    problems.add(held.origin.below(held.key.text), held.key, Reason.CONFLICT, message)


def _written_sources(found: Found, problems: Problems) -> Sources:
    single = found.get(SOURCE)
    if single is not None:
        return (WrittenSource(single, found.held[SOURCE.name].origin, SOURCE.name),)
    several = found.get(SOURCES)
    if several is not None:
        origin = found.held[SOURCES.name].origin
        return tuple(WrittenSource(node, origin, f"{SOURCES.name}[{i}]") for i, node in enumerate(several))
    if found.lacks(SOURCE) and found.lacks(SOURCES):
        hint = "add `source:` with the address of the file"
        problems.add(found.origin, found.at, Reason.MISSING_KEY, "it has neither source nor sources", hint)
    return ()


def _single_file(found: Found, written: Sources, context: Context) -> FileSpec | None:
    sources = _read_sources(written, None, context.problems)
    pin = find_pin(found, written, "", context)
    path = _single_path(found, written, sources, context.problems)
    if sources is None or pin is None or path is None:
        return None
    return FileSpec(path, pin.digest, pin.size_bytes, role_of(path), sources)


def _single_path(found: Found, written: Sources, sources: tuple[Source, ...] | None, problems: Problems) -> str | None:
    name = found.get(NAME)
    if name is not None:
        if problem := path_problem(name):
            held = found.held[NAME.name]
            message = f"the file name {shown(name)} {problem}"
            problems.add(held.origin.below(NAME.name), held.node, Reason.BAD_NAME, message)
        return name
    if sources is None:
        return None
    path = basename(sources[0])
    problem = path_problem(path) if path else "is empty"
    if problem:
        message = f"the file name in the source, {shown(path)}, {problem}"
        problems.add(
            written[0].place,
            written[0].node,
            Reason.BAD_NAME,
            message,
            "set `name` to the file name that runtimes shall see",
        )
    return path


def _read_sources(written: Sources, path: str | None, problems: Problems) -> tuple[Source, ...] | None:
    sources: list[Source] = []
    for source in written:
        try:
            sources.append(read_source(source.node, source.origin.file, path))
        except BadValueError as error:
            problems.add(source.place, source.node, error.reason, error.message, error.hint)
    return tuple(sources) if len(sources) == len(written) else None


def _several_files(entries: Mapping[str, Found], written: Sources, context: Context) -> tuple[FileSpec, ...]:
    _check_paths(entries, context.problems)
    files = [_file_below(path, entry, written, context) for path, entry in entries.items()]
    return tuple(file for file in files if file is not None) if None not in files else ()


def _file_below(path: str, entry: Found, written: Sources, context: Context) -> FileSpec | None:
    sources = _read_sources(written, path, context.problems)
    pin = find_pin(entry, written, path, context)
    if sources is None or pin is None:
        return None
    return FileSpec(path, pin.digest, pin.size_bytes, entry.value(ROLE, role_of(path)), sources)


def _check_paths(entries: Mapping[str, Found], problems: Problems) -> None:
    """Report paths that are the same on some platforms, or a file here and a folder there."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path, entry in entries.items():
        key = disk_key(path)
        above = [key[:i] for i, character in enumerate(key) if character == "/"]
        other = files.get(key) or folders.get(key) or next((files[folder] for folder in above if folder in files), None)
        if other is None:
            files[key] = path
            folders.update(dict.fromkeys(above, path))
            continue
        first = entries[other]
        message = f"{shown(path)} collides on disk with {shown(other)}, declared at {first.origin.position(first.at)}"
        problems.add(entry.origin, entry.at, Reason.NAME_COLLISION, message)
