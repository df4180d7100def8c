"""Headers made by hand, so that each can be wrong in one place."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.formats.header_bytes import ReadAt

U32, F32, BOOL, TEXT, ARRAY, U64 = 4, 6, 7, 8, 9, 10
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", 5: "i", F32: "f", BOOL: "?", U64: "Q", 11: "q", 12: "d"}


@dataclass
class Gguf:
    """A GGUF file to be; `bytes(…)` is its header and `data_bytes` zeros, or whatever was changed."""

    kv: list[tuple[str, int, object]] = field(default_factory=list)
    """(key, type, value); an array's value is (element type, elements)."""
    tensors: list[tuple[str, Sequence[int], int, int]] = field(default_factory=list)
    """(name, shape, type, offset)."""
    version: int = 3
    magic: bytes = b"GGUF"
    key_count: int | None = None
    tensor_count: int | None = None
    data_bytes: int = 0

    def __bytes__(self) -> bytes:
        counts = (self.tensor_count, len(self.tensors)), (self.key_count, len(self.kv))
        told = [found if wanted is None else wanted for wanted, found in counts]
        parts = [self.magic, struct.pack("<IQQ", self.version, *told)]
        parts += [text(key) + struct.pack("<I", kind) + value_bytes(kind, value) for key, kind, value in self.kv]
        for name, shape, type_id, offset in self.tensors:
            dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            parts.append(text(name) + dims + struct.pack("<IQ", type_id, offset))
        header = b"".join(parts)
        return header + bytes(-len(header) % 32) + bytes(self.data_bytes)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value_bytes(kind: int, value: object) -> bytes:
    if kind == TEXT:
        assert isinstance(value, str | bytes)
        return text(value)
    if kind == ARRAY:
        assert isinstance(value, tuple)
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(value_bytes(element, item) for item in items)
    return struct.pack("<" + _SCALARS[kind], value)


def lora(alpha: object = 16.0, architecture: str = "llama") -> Gguf:
    """A LoRA of rank 8 for one projection of 64 by 32."""
    return Gguf(
        kv=[
            ("general.architecture", TEXT, architecture),
            ("general.type", TEXT, "adapter"),
            ("adapter.type", TEXT, "lora"),
            ("adapter.lora.alpha", F32, alpha),
        ],
        tensors=[
            ("blk.0.attn_q.weight.lora_a", (64, 8), 0, 0),
            ("blk.0.attn_q.weight.lora_b", (8, 32), 0, 2048),
        ],
        data_bytes=3072,
    )


def base(architecture: str = "llama") -> Gguf:
    """A model with the projection that `lora` is for."""
    return Gguf(
        kv=[("general.architecture", TEXT, architecture)],
        tensors=[("blk.0.attn_q.weight", (64, 32), 0, 0), ("blk.0.attn_norm.weight", (64,), 0, 8192)],
        data_bytes=8448,
    )


def safetensors(
    tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str] | None = None, **wrong: object
) -> bytes:
    """A whole file; `wrong` are fields of the last tensor that are not what they should be."""
    bits = {"F32": 32, "F16": 16, "BF16": 16, "I8": 8, "F64": 64}
    document: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, (kind, shape) in tensors.items():
        size = bits[kind] // 8
        for length in shape:
            size *= length
        document[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    if wrong:
        last = document[list(tensors)[-1]]
        assert isinstance(last, dict)
        last |= wrong
    return raw_safetensors(document, end)


def raw_safetensors(document: object, data_bytes: int = 0) -> bytes:
    header = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data_bytes)


def peft(rank: int = 8, kind: str = "F32", prefix: str = "base_model.model.model.layers.0.self_attn.q_proj") -> bytes:
    """A LoRA for one projection of 64 by 32, as PEFT writes it."""
    return safetensors({f"{prefix}.lora_A.weight": (kind, (rank, 64)), f"{prefix}.lora_B.weight": (kind, (32, rank))})


def reader(data: bytes) -> ReadAt:
    """Reads `data`."""
    return lambda offset, size: data[offset : offset + size]
