"""Unquoted URLs in flow style, such as `[https://example.com/a.gguf]`.

The C scanner knows YAML 1.1, where a colon or a question mark ends a plain text inside of brackets;
in YAML 1.2 (section 7.3.3) it does so only before a space. A character that means nothing stands in
for it while the text is scanned, so no line and no column changes, and is replaced in every scalar.
"""

from __future__ import annotations

import re

_TAG = r"(?<![^\s\[{,])!\S+"
_COLON_IN_PLAIN = r"(?<=[^\s\"'\[\]{},]):(?=[^\s\[\]{},])"
_QUESTION_IN_PLAIN = r"(?<=[^\s\"'\[\]{},])\?"
_MARKS = re.compile(f"{_TAG}|({_COLON_IN_PLAIN})|({_QUESTION_IN_PLAIN})")

_PRIVATE_USE = range(0xE000, 0xF8FF)


class StandIns:
    """A text without the marks that the scanner misreads, and the way back."""

    def __init__(self, text: str) -> None:
        used = set(text)
        self._colon, self._question = [chr(code) for code in _PRIVATE_USE if chr(code) not in used][:2]
        self.text = _MARKS.sub(self._stand_in, text)

    def restore(self, scalar: str) -> str:
        """The scalar as it is written."""
        return scalar.replace(self._colon, ":").replace(self._question, "?")

    def _stand_in(self, found: re.Match[str]) -> str:
        if found[1]:
            return self._colon
        return self._question if found[2] else found[0]
