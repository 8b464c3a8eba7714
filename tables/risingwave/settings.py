"""Settings of RisingWave. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["RisingWaveSettings"]


class RisingWaveSettings(BaseSettings):
    """Where RisingWave answers, and where it finds the broker and ClickHouse: addresses as it sees them."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    risingwave_url: str = Field(default="", pattern=r"^(postgres(ql)?://\S+)?$")
    """`postgresql://user@host:4566/database`. Empty: there is no RisingWave."""

    risingwave_password: SecretStr = SecretStr("")
    """Password of that user; it wins over one in the URL."""

    risingwave_broker: str = Field(default="", pattern=r"^([^\s/]+:\d+(,[^\s/]+:\d+)*)?$")
    """Bootstrap servers as RisingWave reaches them. Empty: those of TICKCAST_BROKER_URL."""

    risingwave_clickhouse_url: str = Field(default="", pattern=r"^(https?://[^\s@]+)?$")
    """`http://host:8123` of a ClickHouse server as RisingWave reaches it, without user and password. Empty: nothing is
    sent to ClickHouse."""

    risingwave_clickhouse_user: str = "default"
    """User that RisingWave writes to ClickHouse as."""

    risingwave_clickhouse_password: SecretStr = SecretStr("")
    """Its password. RisingWave keeps it in the definition of the sink."""

    risingwave_history_days: int = Field(default=8, ge=2, le=36_500)
    """How far back the views look, by the wall clock (days). A replay of old trades needs more, and
    every day more costs state."""

    risingwave_timeout_s: int = Field(default=10, ge=1, le=600)
    """How long a connection may take (s)."""
