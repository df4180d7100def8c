"""What a file of a model is for, told from its name."""

from __future__ import annotations

import re

from reconciler.core.desired import Role

_SHARD = re.compile(r"-\d{5}-of-\d{5}\.(gguf|safetensors)$").search


def role_of(path: str) -> Role:
    """The role of the file at `path` where its manifest does not name one."""
    name = path.rpartition("/")[2].lower()
    if _SHARD(name):
        return Role.SHARD
    if "mmproj" in name:
        return Role.MMPROJ
    if name == "tokenizer.model" or (name.startswith("tokenizer") and name.endswith(".json")):
        return Role.TOKENIZER
    return Role.CONFIG if name.endswith(".json") else Role.MODEL
