"""Settings of the column store. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["LOCAL_SCHEME", "StoreSettings"]

LOCAL_SCHEME = "local://"


class StoreSettings(BaseSettings):
    """Where ClickHouse answers, and how the local store process behaves."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    home: Path = Path(".tickcast")
    """Folder of everything that tickcast keeps on this machine."""

    clickhouse_url: str = Field(default="", validate_default=True)
    """Empty: `local://<home>/store`. `local://DIR` for the local store process on that folder, or `clickhouse://user:password@host:8123/database`
    (`http://` means the same, `https://` speaks TLS) for a ClickHouse server."""

    clickhouse_database: str = Field(default="tickcast", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Database that holds the tables (name). A database in the URL wins."""

    store_port: int = Field(default=18123, ge=0, le=65535)
    """Port of the local store on 127.0.0.1; 0 takes a free one (`endpoint.json` in the folder tells which)."""

    store_connect_timeout_s: float = Field(default=10.0, gt=0, le=600)
    """How long a client tries to reach the store before it gives up (s)."""

    store_request_timeout_s: int = Field(default=60, ge=1, le=3600)
    """How long one query or insert may take (s)."""

    store_trades: bool = False
    """Whether workers write every single trade into table `trades`, from the time on that they are started with it.
    Nothing of tickcast reads it. While the store is down, pairs without trades are not closed by the clock, and once
    32 MiB of a partition's trades wait its candles stop, too."""

    store_memory_mb: int = Field(default=900, ge=200, le=65536)
    """Memory that queries and merges of the local store may take together (MB), beside about 300 MB of engine."""

    store_body_mb: int = Field(default=128, ge=1, le=4096)
    """Largest request of the local store, compressed and decompressed (MB). A larger one is refused."""

    store_result_mb: int = Field(default=256, ge=1, le=4096)
    """Largest result of the local store (MB): it is held whole, so that an error never comes half-way."""

    store_min_free_mb: int = Field(default=256, ge=0)
    """Free disk below which the local store does not start (MB)."""

    store_ttl_days_candles: int = Field(default=0, ge=0, le=36_500)
    """Age at which `tickcast store migrate` lets candles expire (days); 0 keeps them. Training needs its months."""

    store_ttl_days_features: int = Field(default=0, ge=0, le=36_500)
    """The same of features (days); 0 keeps them. Training reads them."""

    store_ttl_days_forecasts: int = Field(default=0, ge=0, le=36_500)
    """The same of forecasts (days); 0 keeps them."""

    store_ttl_days_forecast_errors: int = Field(default=0, ge=0, le=36_500)
    """The same of scored forecasts (days); 0 keeps them."""

    store_ttl_days_alerts: int = Field(default=0, ge=0, le=36_500)
    """The same of alerts (days); 0 keeps them."""

    store_ttl_days_holes: int = Field(default=0, ge=0, le=36_500)
    """The same of holes in the feed (days); 0 keeps them."""

    store_ttl_days_dead_letters: int = Field(default=0, ge=0, le=36_500)
    """The same of dead letters (days); 0 keeps them."""

    store_ttl_days_trades: int = Field(default=0, ge=0, le=36_500)
    """The same of single trades (days): the table that grows fastest by far."""

    store_ttl_days_late_trades: int = Field(default=0, ge=0, le=36_500)
    """The same of trades that no candle could take (days); 0 keeps them."""

    store_ttl_days_market_rolling: int = Field(default=0, ge=0, le=36_500)
    """The same of table market_rolling, by `open_time` (days)."""

    store_dashboards_user: str = Field(default="tickcast_dashboards", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the read-only user of dashboards that `tickcast store sql --dashboards` makes on a server."""

    store_dashboards_query_s: int = Field(default=20, ge=1, le=3600)
    """How long one query of that user may take (s)."""

    store_dashboards_memory_mb: int = Field(default=2_000, ge=10, le=1_000_000)
    """Memory of one query of that user (MB)."""

    store_dashboards_queries_per_minute: int = Field(default=600, ge=1)
    """Quota of that user (queries a minute)."""

    @field_validator("clickhouse_url")
    @classmethod
    def _default_to_home(cls, value: str, info: ValidationInfo) -> str:
        return value or f"{LOCAL_SCHEME}{info.data.get('home', '.tickcast')}/store"

    @property
    def is_local(self) -> bool:
        """Whether the store is the local process."""
        return self.clickhouse_url.startswith(LOCAL_SCHEME)

    @property
    def local_folder(self) -> Path:
        """Folder of the local store; only for `local://` URLs."""
        return Path(self.clickhouse_url.removeprefix(LOCAL_SCHEME)).expanduser().absolute()
