"""Unquoted URLs in flow style, such as `[https://example.com/a.gguf]`.

The C scanner knows YAML 1.1, where a colon or a question mark ends a plain text inside of brackets;
in YAML 1.2 (section 7.3.3) it does so only before a space. A character that means nothing stands in
for it while the text is scanned, so no line and no column changes, and is replaced in every scalar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPACE = r" \t\r\n\x85\u2028\u2029"
# What the scanner takes for white space; a no-break space, for example, is part of a text.

# Each branch begins with its mark, and only then looks behind it: so the search skips from mark to mark.
_TAG = rf"!(?<![^{_SPACE}\[{{,]!)[^{_SPACE}]+"
_COLON_IN_PLAIN = rf":(?<=[^{_SPACE}\"'\[\]{{}},]:)(?=[^{_SPACE}\[\]{{}},])"
_QUESTION_IN_PLAIN = rf"\?(?<=[^{_SPACE}\[\]{{}},]\?)"
_MARKS = re.compile(f"({_COLON_IN_PLAIN})|({_QUESTION_IN_PLAIN})|{_TAG}")

_CANDIDATES = [chr(code) for code in range(0xE000, 0xE010)]
# Of the private use area, where no text means anything; two that a text does not contain are enough.


@dataclass(frozen=True, slots=True)
class StandIns:
    """A text without the marks that the scanner misreads, and what stands for them."""

    text: str
    colon: str
    question: str

    def restore(self, scalar: str) -> str:
        """`scalar` as it is written."""
        return scalar.replace(self.colon, ":").replace(self.question, "?")


def replace_marks(text: str) -> StandIns | None:
    """`text` with stand-ins; None if there is nothing to replace or nothing to replace it by."""
    unused = [candidate for candidate in _CANDIDATES if candidate not in text]
    if len(unused) < 2:
        return None
    colon, question = unused[:2]

    def stand_in(found: re.Match[str]) -> str:
        if found[1]:
            return colon
        return question if found[2] else found[0]

    replaced = _MARKS.sub(stand_in, text)
    return None if replaced == text else StandIns(replaced, colon, question)
