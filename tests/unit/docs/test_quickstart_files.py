"""The weight files in git are what the script in the repository makes, and what the manifests say of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.fixtures import minilm, tiny_gguf

MANIFESTS = Path(__file__).parents[3] / "manifests"


def _declared(folder: str) -> dict[str, Any]:
    document, *others = (YAML(typ="safe").load(path) for path in sorted((MANIFESTS / folder).glob("*.yaml")))
    assert not others
    return {**document["models"], **document.get("adapters", {})}


@pytest.mark.parametrize(
    ("name", "made"), [("tiny.gguf", tiny_gguf.tiny_model), ("tiny-style.gguf", tiny_gguf.tiny_adapter)]
)
def test_the_script_makes_the_same_bytes_again(name: str, made: Any) -> None:
    assert made() == (MANIFESTS / "quickstart" / name).read_bytes()


def test_the_quickstart_declares_the_digests_and_sizes_of_its_files() -> None:
    for declared in _declared("quickstart").values():
        data = (MANIFESTS / "quickstart" / declared["source"].removeprefix("file:")).read_bytes()
        assert (declared["sha256"], declared["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))


def test_the_hub_manifest_declares_the_published_model() -> None:
    (declared,) = _declared("huggingface").values()
    assert declared["source"] == f"hf://{minilm.REPO}@{minilm.COMMIT}/{minilm.FILE}"
    assert (declared["sha256"], declared["bytes"]) == (minilm.SHA256, minilm.SIZE_BYTES)
