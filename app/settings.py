"""Settings of the local stack. Every package owns its own class; this one holds what only the shell needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["DEFAULT_PAIRS", "AppSettings"]

DEFAULT_PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD")
Port = Annotated[int, Field(ge=1024, le=65535)]


class AppSettings(BaseSettings):
    """Where a stack lives, what feeds it and how patient its supervisor is."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    home: Path = Path(".tickcast")
    """Folder of the local stack: broker, store, worker state, registry, logs, status."""

    source: str = Field(default="sim", pattern=r"^(kraken|coinbase|sim|replay:.+)$")
    """Where trades come from: `kraken`, `sim` or `replay:FILE`."""

    pairs: Annotated[tuple[str, ...], NoDecode] = DEFAULT_PAIRS
    """Pairs as Kraken's v2 symbols, separated by commas."""

    store_port: Port = 18123
    """Port of the local ClickHouse store."""

    api_port: Port = 18000
    """Port of the API."""

    sim_port: Port = 18080
    """Port of the market simulator."""

    ingest_port: Port = 18081
    """Port of the ingest's health pages."""

    worker_port: Port = 16066
    """Port of the Faust worker's web server."""

    restarts: int = Field(default=3, ge=0, le=100)
    """How often a crashed process is started again before the stack gives up (count)."""

    stop_grace_s: float = Field(default=10.0, gt=0, le=120)
    """How long a process may take to stop before it is killed (seconds)."""

    @field_validator("source")
    @classmethod
    def _absolute_file(cls, value: str) -> str:
        """One name for one recording, wherever it was started from: a folder remembers what it was made for."""
        kind, _, file = value.partition(":")
        return f"{kind}:{Path(file).absolute()}" if kind == "replay" else value

    @field_validator("pairs", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().upper() for part in value.split(",") if part.strip())
        return value

    @field_validator("pairs")
    @classmethod
    def _check_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [pair for pair in value if len(pair.split("/")) != 2 or not all(pair.split("/"))]  # noqa: PLR2004  # base and quote
        if wrong or not value:
            raise ValueError("pairs are written BASE/QUOTE and separated by commas, like BTC/USD,ETH/USD")
        return value
