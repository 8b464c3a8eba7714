"""`python -m app.cli` is `tickcast`: the supervisor starts its children this way."""

from __future__ import annotations

from app.cli import main

main()
