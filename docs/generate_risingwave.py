"""Draw the picture of `docs/risingwave.md` from the SQL files: `python docs/generate_risingwave.py [--check]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from tables.risingwave.script import Piece, pieces

PAGE: Final = Path(__file__).resolve().parent / "risingwave.md"
_BLOCK: Final = re.compile(r"(<!-- picture -->\n).*?(<!-- end -->)", re.DOTALL)
_NAMES: Final = ("broker", "history", "clickhouse_url", "clickhouse_user", "clickhouse_password", "clickhouse_database")


def everything() -> list[Piece]:
    """All objects, whatever is configured."""
    return pieces(dict.fromkeys(_NAMES, "x"))


def picture() -> str:
    """Topics and tables on the outside, views between them, as mermaid."""
    lines = ["```mermaid", "flowchart LR"]
    for piece in everything():
        outer = re.search(r"\n    (?:topic|clickhouse\.table) = '([^']+)'", piece.text)
        if piece.kind == "SOURCE" and outer:
            lines.append(f"  t_{piece.name}[(topic {outer[1]})] --> {piece.name}([{piece.name}])")
        elif piece.kind == "SINK" and outer:
            where = "ClickHouse" if "clickhouse.table" in piece.text else "topic"
            lines.append(f"  {piece.name}([{piece.name}]) --> t_{piece.name}[({where} {outer[1]})]")
        lines += [f"  {need} --> {piece.name}" for need in piece.needs]
    return "\n".join([*lines, "```", ""])


def page() -> str:
    """Give the page with a current picture."""
    return _BLOCK.sub(lambda found: f"{found[1]}{picture()}{found[2]}", PAGE.read_text())


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != page())
    PAGE.write_text(page())
