"""Settings of the log. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["BrokerSettings", "LocalSettings"]


class BrokerSettings(BaseSettings):
    """Where the Kafka API answers and how topics are laid out."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    broker_url: str = Field(default="127.0.0.1:19092", pattern=r"^[^\s/]+:\d+(,[^\s/]+:\d+)*$")
    """Bootstrap servers, `host:port` separated by commas."""

    partitions: int = Field(default=4, ge=1, le=1024)
    """Partitions of every tickcast topic (count). All topics share it, so that a pair stays on one number."""

    replication: int = Field(default=1, ge=1, le=5)
    """Replication factor of every topic (count). 3 on a cluster."""


class LocalSettings(BaseSettings):
    """Where the local broker's program lies."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    cache: Path = Field(default_factory=lambda: Path.home() / ".cache" / "tickcast")
    """Folder for what is fetched once and shared by all checkouts. Default ~/.cache/tickcast."""
