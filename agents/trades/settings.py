"""Settings of the ingest service and of the simulator. Environment prefix `TICKCAST_`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agents.trades.exchanges import EXCHANGES
from redpanda.errors import ConfigError

__all__ = ["Faults", "IngestSettings", "SimSettings", "duration_s", "ingest_settings", "sim_settings"]

DEFAULT_PAIRS: Final = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD")
_PAIR: Final = re.compile(r"[A-Z0-9]{1,12}/[A-Z0-9]{1,12}")
_DURATION: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

Pairs = Annotated[tuple[str, ...], NoDecode]


def duration_s(text: str) -> int:
    """`90s`, `15m`, `12h`, `3d`, `2w` or `0` to seconds."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no length of time: write 90s, 15m, 12h, 3d, 2w or 0")
    return int(match[1]) * _UNIT_S[match[2]]


def split_pairs(value: object) -> object:
    """`BTC/USD, eth/usd` to a tuple of checked, distinct names."""
    if isinstance(value, str):
        value = tuple(part.strip().upper() for part in value.split(",") if part.strip())
    if isinstance(value, list | tuple):
        for pair in value:
            if not isinstance(pair, str) or _PAIR.fullmatch(pair) is None:
                raise ValueError(f"{pair!r} is no pair: write BASE/QUOTE in Kraken's v2 names, as BTC/USD")
        if len(set(value)) != len(value):
            raise ValueError("a pair is named twice")
    return value


class IngestSettings(BaseSettings):
    """Where trades come from and how they are published."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    home: Path = Path(".tickcast")
    """Folder of the local stack; the status file goes to `home/status`."""

    pairs: Pairs = DEFAULT_PAIRS
    """Pairs in Kraken's v2 names, comma separated. Empty: every pair of the file (replay only)."""

    source: str = "kraken"
    """`kraken`, `coinbase`, `sim` or `replay:FILE` (CSV, CSV.gz or Parquet)."""

    since: str = "3d"
    """History of pairs that the topic does not hold yet: 90s, 15m, 12h, 3d, 2w; 0 for none."""

    linger_ms: int = Field(default=10, ge=0, le=1_000)
    """Longest time a trade waits for others to share its record (ms)."""

    ingest_port: int = Field(default=18_081, ge=0, le=65_535)
    """Port of `/health`, `/ready` and `/metrics` (0: any free one)."""

    sim_port: int = Field(default=18_080, ge=0, le=65_535)
    """Port of the simulator when the source is `sim`."""

    exchange_ws_url: str = Field(default="", pattern=r"^(wss?://\S+)?$")
    """WebSocket of the exchange. Empty: its own public one."""

    exchange_rest_url: str = Field(default="", pattern=r"^(https?://\S+[^/])?$")
    """REST API of the exchange, without a trailing slash. Empty: its own public one."""

    rest_per_s: float = Field(default=0.0, ge=0.0, le=10_000.0)
    """REST calls (1/s). 0: what the exchange allows (1 for Kraken, 5 for Coinbase), and 500 for the simulator."""

    replay_speed: float = Field(default=0.0, ge=0.0)
    """Replay at N times the recorded pace; 0 is as fast as it goes."""

    replay_from: str = ""
    """Skip recorded trades before this RFC 3339 time; empty: from the start."""

    replay_to: str = ""
    """Stop before this RFC 3339 time; empty: to the end."""

    silence_s: float = Field(default=10.0, gt=0.0)
    """A connection without any frame for this long is given up (s); Kraken's heartbeat comes every second."""

    quiet_check_s: float = Field(default=30.0, gt=0.0)
    """A pair without a live trade for this long is checked against REST (s)."""

    backoff_max_s: float = Field(default=30.0, gt=0.0)
    """Longest wait between two attempts to connect (s)."""

    stable_s: float = Field(default=10.0, ge=0.0)
    """A connection that gave data for this long resets the back-off (s)."""

    repair_tries: int = Field(default=5, ge=1)
    """REST pages that tell of a hole and lack it before it is given up (count); 2 at most in history."""

    repair_wait_s: float = Field(default=15.0, gt=0.0)
    """Longest time that live trades wait for a hole below them (s); after it the hole is repaired behind them."""

    max_in_flight: int = Field(default=100_000, ge=1_000)
    """Trades read and not yet acknowledged by the broker (count); at the limit the source waits."""

    lease_s: float = Field(default=5.0, ge=1.0, le=30.0)
    """How long an ingest process that died keeps others of its pairs waiting (s); not used by replay."""

    resume_scan: int = Field(default=200_000, ge=1)
    """Records of a partition looked through, from the end, for a pair's last trade (count)."""

    _pairs = field_validator("pairs", mode="before")(split_pairs)

    @field_validator("since")
    @classmethod
    def _check_since(cls, value: str) -> str:
        duration_s(value)
        return value

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        kind, colon, file = self.source.partition(":")
        if kind not in (*EXCHANGES, "sim", "replay") or (kind == "replay") != bool(colon and file):
            raise ValueError(f"TICKCAST_SOURCE={self.source!r}: write {', '.join(EXCHANGES)}, sim or replay:FILE")
        if not self.pairs and kind != "replay":
            raise ValueError("TICKCAST_PAIRS: name at least one, as BTC/USD,ETH/USD")
        return self

    @property
    def kind(self) -> str:
        """The source without its file; also `Trade.source`."""
        return self.source.partition(":")[0]

    @property
    def replay_file(self) -> Path:
        """The file of `replay:FILE`."""
        return Path(self.source.partition(":")[2])

    @property
    def since_s(self) -> int:
        """`since` in seconds."""
        return duration_s(self.since)

    @property
    def ws_url(self) -> str:
        """Where the live feed is; empty where the exchange knows."""
        return self.exchange_ws_url or (f"ws://127.0.0.1:{self.sim_port}/v2" if self.kind == "sim" else "")

    @property
    def rest_url(self) -> str:
        """Where history is; empty where the exchange knows."""
        return self.exchange_rest_url or (f"http://127.0.0.1:{self.sim_port}" if self.kind == "sim" else "")


class Faults(BaseModel):
    """Faults that the simulator commits on purpose. All are off by default."""

    model_config = {"frozen": True, "extra": "forbid", "use_attribute_docstrings": True}

    drop_every: int = Field(default=0, ge=0)
    """Ids that this divides never reach the socket (REST has them)."""
    drop_run: int = Field(default=1, ge=1)
    """How many ids in a row each drop takes (count)."""
    duplicate_every: int = Field(default=0, ge=0)
    """Ids that this divides are sent twice."""
    reorder: bool = False
    """Each update carries its trades newest first."""
    disconnect_after: int = Field(default=0, ge=0)
    """Close each connection without a goodbye after this many updates (count)."""
    silent_after: int = Field(default=0, ge=0)
    """The first connection pushes nothing more, heartbeats too, after this many updates (count)."""
    half_open_after: int = Field(default=0, ge=0)
    """The first connection answers nothing either, pings too, after this many updates, and stays open (count)."""
    slow_ms: int = Field(default=0, ge=0)
    """Each update leaves the exchange this late (ms); REST is not late."""
    snapshot_every: int = Field(default=0, ge=0)
    """The snapshot comes once more before each N-th update."""
    maintenance_after: int = Field(default=0, ge=0)
    """After this many updates the first connection hears of maintenance, and gets no trades while it lasts (count)."""
    maintenance_ms: int = Field(default=1_000, ge=0)
    """How long maintenance lasts (ms)."""
    skew_ms: int = 0
    """How far the exchange's clock is ahead of ours; negative: behind (ms)."""
    malformed_every: int = Field(default=0, ge=0)
    """A broken frame goes before each N-th update."""
    bad_trade_every: int = Field(default=0, ge=0)
    """Ids that this divides reach the socket with a negative price (REST has the true one)."""
    refuse: tuple[str, ...] = ()
    """Symbols whose subscription is refused."""
    rest_errors: tuple[Literal["throttle", "unavailable", "html", "http-503"], ...] = ()
    """The first REST answers, one fault each, before the true ones."""


class SimSettings(BaseSettings):
    """The market simulator: it speaks Kraken's protocol and is no market."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_SIM_",
        frozen=True,
        use_attribute_docstrings=True,
        extra="ignore",
        populate_by_name=True,
    )

    home: Path = Field(default=Path(".tickcast"), validation_alias="TICKCAST_HOME")
    """Folder of the local stack; the status file goes to `home/status`."""

    pairs: Pairs = Field(default=DEFAULT_PAIRS, validation_alias="TICKCAST_PAIRS")
    """Pairs on offer, comma separated."""

    port: int = Field(default=18_080, ge=0, le=65_535)
    """Port of WebSocket `/v2` and REST `/0/public` on 127.0.0.1 (0: any free one)."""

    seed: int = Field(default=7, ge=0)
    """Another seed is another market; the ids stay the same, so do not change it under a stack with data."""

    trades_per_min: float = Field(default=30.0, gt=0.0, le=600_000.0)
    """Mean trades of a pair (1/min); single pairs differ by a third. Changing it renumbers the history."""

    tick_ms: int = Field(default=50, ge=1, le=1_000)
    """How often new trades are sent (ms)."""

    faults: Faults = Faults()
    """As JSON, for tests and drills."""

    def now_ns(self) -> int:
        """Read the simulated exchange's clock, ns since the epoch."""
        return time.time_ns() + self.faults.skew_ms * 1_000_000

    _pairs = field_validator("pairs", mode="before")(split_pairs)


def ingest_settings(**values: object) -> IngestSettings:
    """Read IngestSettings, environment included; a wrong one is a ConfigError that names it."""
    try:
        return IngestSettings(**values)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise _config_error(error, "TICKCAST_") from error


def sim_settings(**values: object) -> SimSettings:
    """Read SimSettings, environment included; a wrong one is a ConfigError that names it."""
    try:
        return SimSettings(**values)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise _config_error(error, "TICKCAST_SIM_") from error


def _config_error(error: ValidationError, prefix: str) -> ConfigError:
    first = error.errors()[0]
    name = "_".join(str(part) for part in first["loc"])
    if not name:  # of several settings: the text names them
        return ConfigError(first["msg"].removeprefix("Value error, "))
    setting = name if name.startswith("TICKCAST_") else prefix + name.upper()
    return ConfigError(f"{setting}: {first['msg'].removeprefix('Value error, ')}")
