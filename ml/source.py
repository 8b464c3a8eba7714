"""Where the trainer's rows come from."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tables.records import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    import numpy.typing as npt

    from ml.settings import TrainerSettings

__all__ = ["CandleSource", "StoreSource"]


class CandleSource(Protocol):
    """Stored 1m features. It is handed to another process, so it must pickle.

    Both methods raise `UnreachableError` while nothing answers.
    """

    def counts(self) -> dict[str, int]:
        """Count the 1m candles of each pair that has any."""

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Give the columns that `ml.dataset.prepare` takes."""


@dataclass(frozen=True)
class StoreSource:
    """The column store: the newest `train_history_days` of the configured pairs."""

    settings: TrainerSettings
    store: Any
    """`tables.clickhouse.settings.StoreSettings`."""

    def _pairs(self, client: Any) -> list[Any]:
        found = _module("queries").pairs(client)
        return [info for info in found if info.pair in self.settings.pairs]

    def counts(self) -> dict[str, int]:
        client = _module("client").connect(self.store)
        try:
            return {info.pair: info.candles for info in self._pairs(client)}
        finally:
            client.close()

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        client = _module("client").connect(self.store)
        try:
            infos = self._pairs(client)
            # Not the wall clock: a replay of 2018 has its own present.
            to_ms = max((info.last_ms for info in infos), default=0) + MINUTE_MS
            from_ms = to_ms - int(self.settings.train_history_days * DAY_MS)
            names = [info.pair for info in infos]
            table: dict[str, npt.NDArray[Any]] = _module("queries").feature_table(client, "1m", names, from_ms, to_ms)
            return table
        finally:
            client.close()


def _module(name: str) -> Any:
    return importlib.import_module(f"tables.clickhouse.{name}")  # only a trainer opens the store
