"""What a LoRA adapter file is: its pairs, their one rank, its alpha and the architecture it is made for.

A pair is two matrices A and B whose product, scaled by alpha / rank, is added to one weight of the
base model. GGUF adapters are as llama.cpp reads them (src/llama-adapter.cpp), safetensors ones as
PEFT writes them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.formats.gguf import GgufHeader, GgufTensor
from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.safetensors import SafeTensor, SafetensorsHeader

GGUF_TYPES = frozenset({"F32", "F16", "BF16", "Q8_0"})
"""What llama.cpp's converter writes."""
PEFT_TYPES = frozenset({"F32", "F16", "BF16"})
ALPHA_TOLERANCE = 1e-6
# GGUF holds alpha with 24 bits, a manifest with 53.

_PEFT_PREFIX = "base_model.model."
_PEFT_HALVES = (
    # (ends in, matrix, whether rows are looked up, as those of an embedding are)
    (".lora_A.weight", "A", False),
    (".lora_B.weight", "B", False),
    (".lora_embedding_A", "A", True),
    (".lora_embedding_B", "B", True),
)
_GGUF_HALVES = {"lora_a": "A", "lora_b": "B"}


@dataclass(frozen=True, slots=True)
class LoraPair:
    """What the file adds to one weight of the base model, a matrix of `rows` rows of `row_length`."""

    target: str
    """The weight, as files of the adapter's own kind name it."""
    rank: int
    row_length: int
    rows: int


@dataclass(frozen=True, slots=True)
class Lora:
    """A valid adapter; `pairs` is never empty and all have the rank `rank`."""

    architecture: str | None
    """`general.architecture`; None where the file does not say it."""
    alpha: float | None
    """Above zero; None where the file does not say it."""
    rank: int
    pairs: tuple[LoraPair, ...]
    is_gguf: bool


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """What `adapter_config.json` says."""

    rank: int
    alpha: float


def gguf_lora(header: GgufHeader) -> Lora:
    """The adapter that a GGUF file is. Raises HeaderError with the key or the tensor that is wrong."""
    for key, wanted in (("general.type", "adapter"), ("adapter.type", "lora")):
        found = header.metadata.get(key)
        if found != wanted:
            raise HeaderError(f"metadata key {key!r}: wanted {wanted!r}, got {found!r:.40}")
    if not header.architecture:
        raise HeaderError("metadata key 'general.architecture': wanted a text, got nothing")
    alpha = _alpha("metadata key 'adapter.lora.alpha'", header.metadata.get("adapter.lora.alpha"))
    pairs = tuple(_gguf_pairs(header.tensors))
    return Lora(header.architecture, alpha, _one_rank(pairs), pairs, is_gguf=True)


def peft_lora(header: SafetensorsHeader, config: PeftConfig | None) -> Lora:
    """The adapter that a safetensors file is, with its `adapter_config.json` where there is one. Raises HeaderError."""
    pairs = tuple(_peft_pairs(header.tensors))
    rank = _one_rank(pairs)
    if config is not None and config.rank != rank:
        raise HeaderError(f"tensor {pairs[0].target!r}: its rank is {rank}, adapter_config.json says r = {config.rank}")
    return Lora(None, None if config is None else config.alpha, rank, pairs, is_gguf=False)


def peft_config(data: bytes) -> PeftConfig:
    """What the text of an `adapter_config.json` says. Raises HeaderError with the key that is wrong."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"it is not JSON in UTF-8 ({error})") from error
    if not isinstance(document, dict):
        raise HeaderError(f"wanted an object, got {document!r:.40}")
    kind = document.get("peft_type", "LORA")
    if kind != "LORA":
        raise HeaderError(f"peft_type: wanted 'LORA', got {kind!r:.40}")
    rank = document.get("r")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise HeaderError(f"r: wanted a whole number above zero, got {rank!r:.40}")
    return PeftConfig(rank, _alpha("lora_alpha", document.get("lora_alpha")))


def check_declared(lora: Lora, *, alpha: float | None, rank: int | None) -> None:
    """Raises HeaderError if the manifest declares another alpha or rank than the file has; None is not declared."""
    if rank is not None and rank != lora.rank:
        raise HeaderError(f"tensor {lora.pairs[0].target!r}: its rank is {lora.rank}, the manifest declares {rank}")
    if alpha is not None and lora.alpha is not None and not math.isclose(alpha, lora.alpha, rel_tol=ALPHA_TOLERANCE):
        raise HeaderError(f"alpha: the file has {lora.alpha:g}, the manifest declares {alpha:g}")


def _alpha(where: str, found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < math.inf:
        raise HeaderError(f"{where}: wanted a number above zero, got {found!r:.40}")
    return float(found)


def _one_rank(pairs: tuple[LoraPair, ...]) -> int:
    if not pairs:
        raise HeaderError("it holds no pair of LoRA tensors")
    first = pairs[0]
    for pair in pairs:
        if pair.rank != first.rank:
            raise HeaderError(f"tensor {pair.target!r}: its rank is {pair.rank}, that of {first.target!r} {first.rank}")
    return first.rank


# ---- GGUF --------------------------------------------------------------------------------------


def _gguf_pairs(tensors: Iterable[GgufTensor]) -> Iterator[LoraPair]:
    return _pairs(half for tensor in tensors for half in _gguf_half(tensor))


def _gguf_half(tensor: GgufTensor) -> Iterator[_Half]:
    target, _, ending = tensor.name.rpartition(".")
    if ending not in _GGUF_HALVES:
        if tensor.name.endswith("_norm.weight"):  # llama.cpp passes over it
            return
        raise HeaderError(f"tensor {tensor.name!r}: wanted a name that ends in .lora_a or .lora_b")
    _check_type(tensor.name, tensor.type_name, GGUF_TYPES)
    matrix = _GGUF_HALVES[ending]
    # The dimension that varies fastest comes first, experts are a third one.
    inner, outer = _matrix(tensor.name, tensor.shape)[:2]
    experts = tensor.shape[2:]
    if target.startswith("token_embd"):  # llama.cpp looks rows of A up instead of multiplying with it
        yield _Half(target, matrix, tensor.name, rank=inner, other=outer, looked_up=True, experts=experts)
    elif matrix == "A":
        yield _Half(target, matrix, tensor.name, rank=outer, other=inner, looked_up=False, experts=experts)
    else:
        yield _Half(target, matrix, tensor.name, rank=inner, other=outer, looked_up=False, experts=experts)


# ---- PEFT --------------------------------------------------------------------------------------


def _peft_pairs(tensors: Iterable[SafeTensor]) -> Iterator[LoraPair]:
    return _pairs(half for tensor in tensors for half in _peft_half(tensor))


def _peft_half(tensor: SafeTensor) -> Iterator[_Half]:
    """A is rank by others, B others by rank; whatever else is saved beside them, such as whole modules, is let pass."""
    for ending, matrix, looked_up in _PEFT_HALVES:
        if tensor.name.endswith(ending):
            _check_type(tensor.name, tensor.type_name, PEFT_TYPES)
            target = tensor.name.removesuffix(ending).removeprefix(_PEFT_PREFIX) + ".weight"
            first, second = _matrix(tensor.name, tensor.shape)[:2]
            rank, other = (first, second) if matrix == "A" else (second, first)
            yield _Half(target, matrix, tensor.name, rank=rank, other=other, looked_up=looked_up)


# ---- both --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Half:
    """One matrix of a pair, `rank` by `other`."""

    target: str
    matrix: str
    """A or B."""
    name: str
    rank: int
    other: int
    looked_up: bool
    """Whether A's other dimension is the rows of the target, as for an embedding, and not the length of a row."""
    experts: tuple[int, ...] = ()


def _pairs(halves: Iterable[_Half]) -> Iterator[LoraPair]:
    found: dict[str, dict[str, _Half]] = {}
    for half in halves:
        if half.matrix in found.setdefault(half.target, {}):
            raise HeaderError(f"tensor {half.name!r}: {half.target!r} has another matrix {half.matrix}")
        found[half.target][half.matrix] = half
    for target, matrices in found.items():
        a, b = matrices.get("A"), matrices.get("B")
        if a is None or b is None:
            there, missing = (a, "B") if a is not None else (b, "A")
            raise HeaderError(
                f"tensor {there.name if there else target!r}: the matrix {missing} of its pair is missing"
            )
        yield _pair(a, b)


def _pair(a: _Half, b: _Half) -> LoraPair:
    if (a.rank, a.experts) != (b.rank, b.experts):
        raise HeaderError(f"tensor {b.name!r}: its rank is {_rank(b)}, that of {a.name!r} {_rank(a)}")
    row_length, rows = (b.other, a.other) if a.looked_up else (a.other, b.other)
    return LoraPair(a.target, a.rank, row_length, rows)


def _rank(half: _Half) -> str:
    return " by ".join(str(length) for length in (half.rank, *half.experts))


def _matrix(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) < 2 or 0 in shape:
        raise HeaderError(f"tensor {name!r}: wanted a matrix, got the shape {list(shape)}")
    return shape


def _check_type(name: str, found: str, wanted: frozenset[str]) -> None:
    if found not in wanted:
        raise HeaderError(f"tensor {name!r}: wanted the type {', '.join(sorted(wanted))}, got {found}")
