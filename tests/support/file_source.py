"""Stored features from a file, for a trainer without a store: its rows reach the training process by path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class FileSource:
    """An npz of feature columns; no file is a store that does not answer."""

    path: Path

    def counts(self) -> dict[str, int]:
        pairs, counts = np.unique(self.columns()["pair"], return_counts=True)
        return dict(zip(pairs.tolist(), counts.tolist(), strict=True))

    def columns(self) -> dict[str, Any]:
        try:
            with np.load(self.path) as archive:
                return dict(archive)
        except FileNotFoundError as error:
            raise UnreachableError(f"{self.path} is not there") from error

    def fill(self, table: dict[str, Any]) -> None:
        temporary = self.path.with_name("new.npz")
        np.savez(temporary, **table)
        temporary.replace(self.path)
