"""Whether a LoRA adapter fits the model it is declared for, as far as their headers tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.formats.gguf import GgufHeader
from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.lora import Lora
from reconciler.formats.safetensors import SafetensorsHeader

_PROJECTION = re.compile(
    r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)_proj\.weight"
).fullmatch
_GGUF_NAMES: Mapping[str, str] = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
"""What llama.cpp's converter calls the projections that adapters are made for most."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What the headers of a model's files say of its weights."""

    architecture: str | None
    """`general.architecture` of a GGUF model; None if nothing says it."""
    weights: Mapping[str, tuple[int, int]]
    """(length of a row, number of rows) of every matrix, by the names its files use."""
    is_gguf: bool


def gguf_base(headers: Iterable[GgufHeader]) -> BaseModel:
    """The model whose files, which may be shards, have these headers."""
    architecture: str | None = None
    weights: dict[str, tuple[int, int]] = {}
    for header in headers:
        architecture = architecture or header.architecture
        weights |= {t.name: (t.shape[0], t.shape[1]) for t in header.tensors if len(t.shape) > 1}
    return BaseModel(architecture, weights, is_gguf=True)


def safetensors_base(headers: Iterable[SafetensorsHeader]) -> BaseModel:
    """The model whose files, which may be shards, have these headers."""
    weights = {t.name: (t.shape[1], t.shape[0]) for header in headers for t in header.tensors if len(t.shape) > 1}
    return BaseModel(None, weights, is_gguf=False)


def check_base(lora: Lora, base: BaseModel) -> None:
    """Raises HeaderError, with the key or tensor, if the adapter is made for another model; what is unknown passes."""
    if lora.architecture and base.architecture and lora.architecture != base.architecture:
        wanted = f"wanted {base.architecture!r} as the base model has, got {lora.architecture!r}"
        raise HeaderError(f"metadata key 'general.architecture': {wanted}")
    for pair in lora.pairs:
        name = pair.target if lora.is_gguf == base.is_gguf else _name_in_gguf(pair.target)
        weight = base.weights.get(name)
        if weight is None and lora.is_gguf and base.is_gguf and base.weights:
            raise HeaderError(f"tensor {pair.target!r}: the base model has no such weight")
        if weight is not None and weight != (pair.row_length, pair.rows):
            wanted = f"{weight[1]} rows of {weight[0]}"
            raise HeaderError(
                f"tensor {pair.target!r}: the base model's has {wanted}, got {pair.rows} of {pair.row_length}"
            )


def _name_in_gguf(name: str) -> str:
    """What a GGUF file calls a weight of a Hugging Face model; `name` itself where that is not known."""
    found = _PROJECTION(name)
    own = _GGUF_NAMES.get(found.group(2)) if found else None
    return name if found is None or own is None else f"blk.{found.group(1)}.{own}.weight"
