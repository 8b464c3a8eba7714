"""What the engine's grants cannot refuse, refused by its words."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["refused_word"]

# INFILE and OUTFILE act in the embedded client, ATTACH ... FROM moves folders; file('x') the function and
# disk(type = ...) are not covered by a grant, python() reads objects of this process, executable() starts programs.
# Between the name of a function and its bracket there is nothing but blanks and comments.
_WORDS: Final = re.compile(
    r"\b(?:(infile|outfile|attach)\b|(file|disk|python|executable)\b\W*?(?:\(|/\*|--|\#))", re.IGNORECASE
)
_HEX: Final = re.compile(r"\\x([0-9A-Fa-f]{2})")


def refused_word(sql: str) -> str | None:
    """Find a refused word anywhere in the text, in quotes and comments too.

    On purpose there is no parsing: a reader that differs from the engine's by one rule would be a hole.
    Values belong into query parameters and inserted data, and these are not looked at.
    """
    match = _WORDS.search(sql) or _WORDS.search(_HEX.sub(lambda code: chr(int(code[1], 16)), sql))
    return match[1] or match[2] if match else None
