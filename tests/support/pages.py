"""Asking a page of a process, also one that says no."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

__all__ = ["ask", "page"]


def ask(port: int, path: str, timeout_s: float = 2.0) -> tuple[int, dict[str, Any]]:
    """Give status and JSON body; status 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)
    except OSError:
        return 0, {}


def page(port: int, path: str, timeout_s: float = 10.0) -> str:
    """Give the text of a page that is there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as answer:
        text: str = answer.read().decode()
        return text
