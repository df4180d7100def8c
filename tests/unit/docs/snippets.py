"""The code blocks of a Markdown page, and what makes two runs of a command comparable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = (
    (re.compile(r"undeleted by \S+"), "undeleted by NAME"),
    (re.compile(r"\d+(\.\d+)? [kMGT]?B (free after|now)"), r"SIZE \2"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "TIME"),
    (re.compile(r"file:/\S+/"), "file:/PATH/"),
    (re.compile(r" +(?=\n|$)"), ""),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is that of its first content line."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page (its path from the root of the repository), in order."""
    text = (ROOT / page).read_text()
    return [
        Block(found.group(1), found.group(2), text.count("\n", 0, found.start()) + 2) for found in _BLOCK.finditer(text)
    ]


def comparable(output: str) -> str:
    """`output` without what differs between machines and moments: free space, times, folders."""
    for pattern, replacement in _VARYING:
        output = pattern.sub(replacement, output)
    return output.strip()
