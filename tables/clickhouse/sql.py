"""Just enough ClickHouse SQL reading: split statements, find where an INSERT's data begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from redpanda.errors import BadInputError

__all__ = ["InsertHead", "Token", "first_word", "insert_head", "split_statements", "tokens"]

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.|'')*')
    | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    | (?P<heredoc>(?P<tag>\$\w*\$).*?(?P=tag))
    | (?P<word>\w+)
    | (?P<other>[^\s\w'`"])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of SQL that means something; comments and blanks are left out."""

    kind: str
    text: str
    start: int
    end: int


class InsertHead(NamedTuple):
    """An INSERT whose rows follow the statement as data."""

    statement: str
    """Without the FORMAT clause."""
    format: str
    data_start: int
    """Where the data begins, in characters of the text that was read."""


def tokens(text: str) -> Iterator[Token]:
    """Walk the tokens lazily: what follows an INSERT's FORMAT is data and is never looked at."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise BadInputError(f"SQL with an unclosed quote at character {position}: close it and send it again")
        position = match.end()
        if match.lastgroup != "skip":
            kind = "word" if match["word"] else match.lastgroup or "other"
            yield Token(kind, match.group(), match.start(), match.end())


def first_word(text: str) -> str:
    """First word of a statement in capitals, past comments and brackets; empty where there is none."""
    for token in tokens(text):
        if token.kind == "word":
            return token.text.upper()
        if token.text != "(":
            break
    return ""


def insert_head(text: str) -> InsertHead | None:
    """Find `INSERT ... FORMAT x` in front of data; None for anything else (VALUES and SELECT are plain SQL)."""
    walk = tokens(text)
    depth = 0
    if next(walk, Token("", "", 0, 0)).text.upper() != "INSERT":
        return None
    for token in walk:
        depth += (token.text == "(") - (token.text == ")")
        word = token.text.upper() if token.kind == "word" and depth == 0 else ""
        if word in {"VALUES", "SELECT", "WITH"}:
            return None
        if word == "FORMAT":
            name = next(walk, None)
            if name is None or name.kind != "word":
                return None
            return InsertHead(text[: token.start], name.text, _data_start(text, name.end))
    return None


def _data_start(text: str, end: int) -> int:
    """Skip blanks and exactly one line end: a Native block of ten columns itself begins with 0x0A."""
    while end < len(text) and text[end] in " \t\f":
        end += 1
    if text.startswith("\r\n", end):
        return end + 2
    return end + 1 if text.startswith("\n", end) else end


def split_statements(text: str) -> list[str]:
    """Split a script at its semicolons; comments stay with the statement they stand before."""
    statements: list[str] = []
    start = 0
    meaningful = False
    for token in tokens(text):
        if token.text == ";":
            if meaningful:
                statements.append(text[start : token.start].strip())
            start, meaningful = token.end, False
        else:
            meaningful = True
    if meaningful:
        statements.append(text[start:].strip())
    return statements
