"""Which of an object's files says what."""

from __future__ import annotations

import json

import pytest

from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.lora_files import MAX_CONFIG_BYTES, HeaderFile, read_base, read_lora
from tests.unit.formats.headers import base, lora, peft, reader, safetensors


def file(path: str, data: bytes) -> HeaderFile:
    return HeaderFile(path, reader(data), len(data))


CONFIG = file("adapter_config.json", json.dumps({"r": 8, "lora_alpha": 32}).encode())
README = file("README.md", b"# An adapter")


def test_an_adapter_is_told_by_its_content_and_not_by_its_name() -> None:
    assert read_lora([file("download", bytes(lora()))]).is_gguf
    assert read_lora([file("download", peft())]).alpha is None


def test_a_peft_folder_has_its_alpha_in_its_config() -> None:
    found = read_lora([README, CONFIG, file("adapter_model.safetensors", peft())])
    assert (found.rank, found.alpha) == (8, 32.0)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([README], "wanted one GGUF or safetensors file, got 0 among: README.md"),
        (
            [file("a.gguf", bytes(lora())), file("b", peft())],
            "wanted one GGUF or safetensors file, got 2 among: a.gguf, b",
        ),
        ([file("a.gguf", bytes(lora(alpha=0.0)))], "a.gguf: metadata key 'adapter.lora.alpha'"),
        ([file("a.gguf", bytes(lora())[:-40])], "a.gguf: tensor 'blk.0.attn_q.weight.lora_b': its data ends at byte"),
        ([file("m", peft()[:-1]), CONFIG], "m: the data: it ends at byte"),
        ([file("m", peft()), file("x/adapter_config.json", b"[]")], "x/adapter_config.json: wanted an object"),
        (
            [file("m", peft()), file("adapter_config.json", b" " * (MAX_CONFIG_BYTES + 1))],
            "adapter_config.json: at most 1048576 bytes are read",
        ),
        ([file("m", peft(rank=4)), CONFIG], "m: tensor 'model.layers.0.self_attn.q_proj.weight': its rank is 4"),
    ],
)
def test_what_is_wrong_names_its_file(files: list[HeaderFile], message: str) -> None:
    with pytest.raises(HeaderError) as refused:
        read_lora(files)
    assert message in str(refused.value)


def test_the_shards_of_a_model_are_one_model() -> None:
    second = base()
    second.tensors = [("blk.1.attn_q.weight", (64, 32), 0, 0)]
    second.kv = []
    found = read_base([file("2.gguf", bytes(second)), file("1.gguf", bytes(base())), README])
    assert (found.architecture, found.is_gguf) == ("llama", True)
    assert found.weights == {"blk.0.attn_q.weight": (64, 32), "blk.1.attn_q.weight": (64, 32)}


def test_a_safetensors_model_has_weights_and_no_architecture() -> None:
    one, two = (safetensors({f"{name}.weight": ("F16", (3, 5))}) for name in "ab")
    found = read_base([file("1.safetensors", one), file("2.safetensors", two)])
    assert (found.architecture, found.weights) == (None, {"a.weight": (5, 3), "b.weight": (5, 3)})


def test_a_model_of_another_kind_is_unknown() -> None:
    assert read_base([README]).weights == {}


def test_a_model_whose_header_is_broken_names_its_file() -> None:
    with pytest.raises(HeaderError, match=r"m.gguf: the version"):
        read_base([file("m.gguf", b"GGUF")])
