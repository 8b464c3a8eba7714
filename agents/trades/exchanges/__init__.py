"""The exchanges, one file each. A file in this folder is an exchange that TICKCAST_SOURCE may name."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Final, cast

from agents.trades.exchange import Exchange

__all__ = ["EXCHANGES", "exchange_of"]

EXCHANGES: Final = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""Names that `TICKCAST_SOURCE` may give."""


def exchange_of(kind: str) -> Exchange:
    """Give the exchange of a source; the simulator is Kraken under its own name."""
    module = import_module(f"{__name__}.{'kraken' if kind == 'sim' else kind}")
    return cast("Exchange", module.exchange(kind))
