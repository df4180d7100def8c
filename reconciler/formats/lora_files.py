"""Adapters and their base models as the files they are made of: which file says what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from reconciler.formats.gguf import MAGIC, read_gguf
from reconciler.formats.header_bytes import HeaderError, ReadAt
from reconciler.formats.lora import Lora, PeftConfig, gguf_lora, peft_config, peft_lora
from reconciler.formats.lora_base import BaseModel, gguf_base, safetensors_base
from reconciler.formats.safetensors import read_safetensors

PEFT_CONFIG = "adapter_config.json"
MAX_CONFIG_BYTES = 2**20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HeaderFile:
    """A file of which only the beginning is looked at."""

    path: str
    read: ReadAt
    size_bytes: int | None = None


def read_lora(files: Iterable[HeaderFile]) -> Lora:
    """The adapter that the files are. Raises HeaderError, which begins with the file that is wrong."""
    known = tuple(files)
    weights = tuple(file for file in known if _is_gguf(file) or _is_safetensors(file))
    if len(weights) != 1:
        names = ", ".join(file.path for file in weights or known)
        raise HeaderError(f"wanted one GGUF or safetensors file, got {len(weights)} among: {names:.300}")
    file = weights[0]
    config = _config(known)
    with _named(file):
        if _is_gguf(file):
            return gguf_lora(read_gguf(file.read, file.size_bytes))
        return peft_lora(read_safetensors(file.read, file.size_bytes), config)


def read_base(files: Iterable[HeaderFile]) -> BaseModel:
    """The model that the files are, as far as it can be told. Raises HeaderError, which begins with the file."""
    known = tuple(files)
    in_gguf = tuple(file for file in known if _is_gguf(file))
    if in_gguf:
        return gguf_base(tuple(_header(read_gguf, file) for file in in_gguf))
    return safetensors_base(tuple(_header(read_safetensors, file) for file in known if _is_safetensors(file)))


def _config(files: tuple[HeaderFile, ...]) -> PeftConfig | None:
    for file in files:
        if file.path.rpartition("/")[2] == PEFT_CONFIG:
            with _named(file):
                data = file.read(0, MAX_CONFIG_BYTES + 1)
                if len(data) > MAX_CONFIG_BYTES:
                    raise HeaderError(f"at most {MAX_CONFIG_BYTES} bytes are read")
                return peft_config(data)
    return None


def _is_gguf(file: HeaderFile) -> bool:
    return file.read(0, len(MAGIC)) == MAGIC


def _is_safetensors(file: HeaderFile) -> bool:
    """Eight bytes of length, of which no real header needs more than five, and an opening brace."""
    beginning = file.read(0, 9)
    return beginning[5:] == b"\0\0\0{"


def _header(read: Callable[[ReadAt], T], file: HeaderFile) -> T:
    with _named(file):
        return read(file.read)


@contextmanager
def _named(file: HeaderFile) -> Iterator[None]:
    try:
        yield
    except HeaderError as error:
        raise HeaderError(f"{file.path}: {error}") from error
