"""What a LoRA adapter is, and what is none."""

from __future__ import annotations

import json
import math

import pytest

from reconciler.formats.gguf import read_gguf
from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.lora import (
    Lora,
    LoraPair,
    PeftConfig,
    check_declared,
    gguf_lora,
    peft_config,
    peft_lora,
)
from reconciler.formats.safetensors import read_safetensors
from tests.unit.formats.headers import TEXT, Gguf, lora, peft, reader, safetensors

Q = LoraPair("blk.0.attn_q.weight", 8, 64, 32)
HF_Q = "base_model.model.model.layers.0.self_attn.q_proj"


def in_gguf(draft: Gguf) -> Lora:
    return gguf_lora(read_gguf(reader(bytes(draft))))


def in_safetensors(data: bytes, config: PeftConfig | None = None) -> Lora:
    return peft_lora(read_safetensors(reader(data)), config)


def without(draft: Gguf, key: str) -> Gguf:
    draft.kv = [row for row in draft.kv if row[0] != key]
    return draft


def other(draft: Gguf, key: str, kind: int, value: object) -> Gguf:
    without(draft, key).kv.append((key, kind, value))
    return draft


def tensors(*rows: tuple[str, tuple[int, ...]], kind: int = 0) -> Gguf:
    draft = lora()
    draft.tensors = [(name, shape, kind, 0) for name, shape in rows]
    return draft


# ---- GGUF --------------------------------------------------------------------------------------


def test_a_gguf_adapter_says_architecture_alpha_rank_and_targets() -> None:
    assert in_gguf(lora()) == Lora("llama", 16.0, 8, (Q,), is_gguf=True)


def test_experts_and_embeddings_and_norms_are_understood() -> None:
    found = in_gguf(
        tensors(
            ("blk.0.ffn_up_exps.weight.lora_a", (64, 8, 4)),
            ("blk.0.ffn_up_exps.weight.lora_b", (8, 128, 4)),
            ("token_embd.weight.lora_a", (8, 1000)),
            ("token_embd.weight.lora_b", (8, 64)),
            ("blk.0.attn_norm.weight", (64,)),
        )
    )
    assert found.pairs == (
        LoraPair("blk.0.ffn_up_exps.weight", 8, 64, 128),
        LoraPair("token_embd.weight", 8, 64, 1000),
    )


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (without(lora(), "general.type"), "metadata key 'general.type': wanted 'adapter', got None"),
        (other(lora(), "general.type", TEXT, "model"), "metadata key 'general.type': wanted 'adapter', got 'model'"),
        (other(lora(), "adapter.type", TEXT, "control"), "metadata key 'adapter.type': wanted 'lora', got 'control'"),
        (without(lora(), "general.architecture"), "metadata key 'general.architecture': wanted a text, got nothing"),
        (
            without(lora(), "adapter.lora.alpha"),
            "metadata key 'adapter.lora.alpha': wanted a number above zero, got None",
        ),
        (lora(alpha=0.0), "metadata key 'adapter.lora.alpha': wanted a number above zero, got 0.0"),
        (lora(alpha=-1.0), "metadata key 'adapter.lora.alpha': wanted a number above zero, got -1.0"),
        (lora(alpha=math.nan), "metadata key 'adapter.lora.alpha': wanted a number above zero, got nan"),
        (lora(alpha=math.inf), "metadata key 'adapter.lora.alpha': wanted a number above zero, got inf"),
        (other(lora(), "adapter.lora.alpha", TEXT, "16"), "'adapter.lora.alpha': wanted a number above zero, got '16'"),
        (tensors(), "it holds no pair of LoRA tensors"),
        (tensors(("blk.0.attn_norm.weight", (64,))), "it holds no pair of LoRA tensors"),
        (tensors(("x.lora_a", (64, 8))), "tensor 'x.lora_a': the matrix B of its pair is missing"),
        (tensors(("x.lora_b", (8, 64))), "tensor 'x.lora_b': the matrix A of its pair is missing"),
        (tensors(("x.weight", (64, 8))), "tensor 'x.weight': wanted a name that ends in .lora_a or .lora_b"),
        (tensors(("x.lora_a", (64,)), ("x.lora_b", (8, 64))), "tensor 'x.lora_a': wanted a matrix, got the shape [64]"),
        (
            tensors(("x.lora_a", (64, 0)), ("x.lora_b", (0, 64))),
            "tensor 'x.lora_a': wanted a matrix, got the shape [64, 0]",
        ),
        (
            tensors(("x.lora_a", (64, 8)), ("x.lora_b", (9, 64))),
            "tensor 'x.lora_b': its rank is 9, that of 'x.lora_a' 8",
        ),
        (
            tensors(("x.lora_a", (64, 8, 4)), ("x.lora_b", (8, 64, 2))),
            "'x.lora_b': its rank is 8 by 2, that of 'x.lora_a' 8 by 4",
        ),
        (
            tensors(("x.lora_a", (64, 8)), ("x.lora_b", (8, 64)), ("y.lora_a", (64, 4)), ("y.lora_b", (4, 64))),
            "tensor 'y': its rank is 4, that of 'x' 8",
        ),
        (
            tensors(("x.lora_a", (64, 8)), ("x.lora_b", (8, 64)), kind=26),
            "tensor 'x.lora_a': wanted the type BF16, F16, F32, Q8_0, got I32",
        ),
        (
            tensors(("x.lora_a", (64, 8)), ("x.lora_b", (8, 64)), kind=99),
            "tensor 'x.lora_a': wanted the type BF16, F16, F32, Q8_0, got type 99",
        ),
    ],
)
def test_a_gguf_file_that_is_no_adapter_says_which_key_or_tensor_is_wrong(draft: Gguf, message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        in_gguf(draft)
    assert message in str(refused.value)


# ---- PEFT --------------------------------------------------------------------------------------


def test_a_peft_adapter_says_rank_and_targets_and_its_config_alpha() -> None:
    pair = LoraPair("model.layers.0.self_attn.q_proj.weight", 8, 64, 32)
    assert in_safetensors(peft()) == Lora(None, None, 8, (pair,), is_gguf=False)
    assert in_safetensors(peft(kind="BF16"), PeftConfig(8, 32.0)).alpha == 32.0


def test_embeddings_are_pairs_and_whole_modules_beside_them_are_let_pass() -> None:
    found = in_safetensors(
        safetensors(
            {
                "base_model.model.model.embed_tokens.lora_embedding_A": ("F16", (4, 1000)),
                "base_model.model.model.embed_tokens.lora_embedding_B": ("F16", (64, 4)),
                "base_model.model.score.weight": ("F64", (2, 64)),
            }
        )
    )
    assert found.pairs == (LoraPair("model.embed_tokens.weight", 4, 64, 1000),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors({}), "it holds no pair of LoRA tensors"),
        (safetensors({"model.layers.0.q_proj.weight": ("F32", (2, 2))}), "it holds no pair of LoRA tensors"),
        (
            safetensors({"x.lora_A.weight": ("F32", (8, 64))}),
            "tensor 'x.lora_A.weight': the matrix B of its pair is missing",
        ),
        (
            safetensors({"x.lora_B.weight": ("F32", (8, 64))}),
            "tensor 'x.lora_B.weight': the matrix A of its pair is missing",
        ),
        (peft(kind="I8"), f"tensor '{HF_Q}.lora_A.weight': wanted the type BF16, F16, F32, got I8"),
        (
            safetensors({"x.lora_A.weight": ("F32", (8, 64)), "x.lora_B.weight": ("F32", (32, 4))}),
            "tensor 'x.lora_B.weight': its rank is 4, that of 'x.lora_A.weight' 8",
        ),
        (
            safetensors({"x.lora_A.weight": ("F32", (8,)), "x.lora_B.weight": ("F32", (32, 8))}),
            "tensor 'x.lora_A.weight': wanted a matrix, got the shape [8]",
        ),
        (
            safetensors({"x.lora_A.weight": ("F32", (8, 2)), "base_model.model.x.lora_A.weight": ("F32", (8, 2))}),
            "tensor 'base_model.model.x.lora_A.weight': 'x.weight' has another matrix A",
        ),
    ],
)
def test_a_safetensors_file_that_is_no_adapter_says_which_tensor_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        in_safetensors(data)
    assert message in str(refused.value)


def test_the_rank_of_the_config_must_be_that_of_the_tensors() -> None:
    with pytest.raises(HeaderError, match=r"q_proj.weight': its rank is 8, adapter_config.json says r = 16"):
        in_safetensors(peft(), PeftConfig(16, 32.0))


def test_a_config_is_read() -> None:
    document = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    assert peft_config(json.dumps(document).encode()) == PeftConfig(8, 16.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "it is not JSON in UTF-8"),
        (b"\xff\xfe\xff", "it is not JSON in UTF-8"),
        (b"[" * 100_000, "it is not JSON in UTF-8"),
        (b"[]", "wanted an object, got []"),
        (b'{"r": 8}', "lora_alpha: wanted a number above zero, got None"),
        (b'{"r": 8, "lora_alpha": 0}', "lora_alpha: wanted a number above zero, got 0"),
        (b'{"r": 8, "lora_alpha": NaN}', "lora_alpha: wanted a number above zero, got nan"),
        (b'{"r": 8, "lora_alpha": true}', "lora_alpha: wanted a number above zero, got True"),
        (b'{"r": 0, "lora_alpha": 1}', "r: wanted a whole number above zero, got 0"),
        (b'{"r": true, "lora_alpha": 1}', "r: wanted a whole number above zero, got True"),
        (b'{"lora_alpha": 1}', "r: wanted a whole number above zero, got None"),
        (b'{"peft_type": "IA3"}', "peft_type: wanted 'LORA', got 'IA3'"),
    ],
)
def test_a_config_that_can_not_be_used_says_which_key_is_wrong(text: bytes, message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        peft_config(text)
    assert message in str(refused.value)


# ---- declared ----------------------------------------------------------------------------------


def test_what_is_declared_must_be_what_the_file_says() -> None:
    found = in_gguf(lora(alpha=16.1))
    check_declared(found, alpha=None, rank=None)
    check_declared(found, alpha=16.1, rank=8)  # the file holds 16.1 with 24 bits
    with pytest.raises(HeaderError, match=r"alpha: the file has 16.1, the manifest declares 16"):
        check_declared(found, alpha=16.0, rank=None)
    with pytest.raises(HeaderError, match=r"attn_q.weight': its rank is 8, the manifest declares 16"):
        check_declared(found, alpha=None, rank=16)


def test_an_alpha_that_the_file_does_not_know_is_taken_from_the_manifest() -> None:
    check_declared(in_safetensors(peft()), alpha=32.0, rank=8)
