"""Whether an adapter fits its base model."""

from __future__ import annotations

import pytest

from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.lora import Lora, LoraPair
from reconciler.formats.lora_base import BaseModel, check_base

GGUF_WEIGHTS = {"blk.0.attn_q.weight": (64, 32), "blk.0.ffn_down.weight": (128, 64)}
LLAMA = BaseModel("llama", GGUF_WEIGHTS, is_gguf=True)
HF_LLAMA = BaseModel(None, {"model.layers.0.self_attn.q_proj.weight": (64, 32)}, is_gguf=False)
UNKNOWN = BaseModel(None, {}, is_gguf=False)


def in_gguf(*pairs: LoraPair, architecture: str | None = "llama") -> Lora:
    return Lora(architecture, 16.0, 8, pairs, is_gguf=True)


def in_peft(name: str, row_length: int = 64, rows: int = 32) -> Lora:
    return Lora(None, None, 8, (LoraPair(name, 8, row_length, rows),), is_gguf=False)


@pytest.mark.parametrize(
    ("lora", "base"),
    [
        (in_gguf(LoraPair("blk.0.attn_q.weight", 8, 64, 32)), LLAMA),
        (in_gguf(LoraPair("blk.0.attn_q.weight", 8, 64, 32)), BaseModel("llama", {}, is_gguf=True)),
        (in_gguf(LoraPair("blk.0.attn_q.weight", 8, 1, 1)), HF_LLAMA),
        (in_gguf(LoraPair("blk.0.attn_q.weight", 8, 1, 1)), UNKNOWN),
        (in_peft("model.layers.0.self_attn.q_proj.weight"), HF_LLAMA),
        (in_peft("model.layers.0.self_attn.q_proj.weight"), LLAMA),
        (in_peft("model.language_model.layers.0.mlp.down_proj.weight", 128, 64), LLAMA),
        (in_peft("transformer.h.0.attn.c_attn.weight"), LLAMA),
        (in_peft("transformer.h.0.attn.c_attn.weight"), HF_LLAMA),
    ],
)
def test_what_fits_or_is_unknown_passes(lora: Lora, base: BaseModel) -> None:
    check_base(lora, base)


@pytest.mark.parametrize(
    ("lora", "base", "message"),
    [
        (
            in_gguf(LoraPair("blk.0.attn_q.weight", 8, 64, 32), architecture="qwen2"),
            LLAMA,
            "metadata key 'general.architecture': wanted 'llama' as the base model has, got 'qwen2'",
        ),
        (
            in_gguf(LoraPair("blk.7.attn_q.weight", 8, 64, 32)),
            LLAMA,
            "tensor 'blk.7.attn_q.weight': the base model has no such weight",
        ),
        (
            in_gguf(LoraPair("blk.0.attn_q.weight", 8, 64, 64)),
            LLAMA,
            "tensor 'blk.0.attn_q.weight': the base model's has 32 rows of 64, got 64 of 64",
        ),
        (
            in_peft("model.layers.0.self_attn.q_proj.weight", 32, 32),
            HF_LLAMA,
            "tensor 'model.layers.0.self_attn.q_proj.weight': the base model's has 32 rows of 64, got 32 of 32",
        ),
        (
            in_peft("model.layers.0.self_attn.q_proj.weight", 64, 33),
            LLAMA,
            "tensor 'model.layers.0.self_attn.q_proj.weight': the base model's has 32 rows of 64, got 33 of 64",
        ),
    ],
)
def test_an_adapter_for_another_model_says_where_it_does_not_fit(lora: Lora, base: BaseModel, message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        check_base(lora, base)
    assert message in str(refused.value)
