"""Settings of the access layer. Environment prefix `TICKCAST_`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.access.hosts import is_loopback, split_origin
from api.access.proxies import Networks

__all__ = ["FOREIGN_RATE", "AccessSettings"]

FOREIGN_RATE: Final = 20.0
"""Requests a second of one address without a key, unless set."""
Names = Annotated[tuple[str, ...], NoDecode]


class AccessSettings(BaseSettings):
    """Who may use the API. By default the programs of this machine on the loopback, and holders of a key elsewhere."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    home: Path = Path(".tickcast")
    """Folder of the stack; the API writes only `status/api.json` and `access/used.json` there."""

    api_host: str = "127.0.0.1"
    """Address to listen on. On any other than the loopback callers need a key (TICKCAST_API_ANONYMOUS)."""

    api_keys_file: Path | None = None
    """File of the API keys (`tickcast keys`); empty: `access/keys.json` under TICKCAST_HOME. May be read-only."""

    api_anonymous: Literal["auto", "always", "never"] = "auto"
    """Whether callers without a key may read: `auto` allows it only on the loopback, and never through a proxy."""

    api_rate_anonymous: float | None = Field(default=None, ge=0, le=1_000_000)
    """Requests a second of one address without a key, WebSocket connects included; 0: no limit. Empty: 20, but
    no limit on the loopback without a proxy."""

    api_rate_key: float = Field(default=100.0, ge=0, le=1_000_000)
    """Requests a second of one key that was made without a rate of its own; 0: no limit."""

    api_rate_burst_s: float = Field(default=5.0, ge=1, le=3_600)
    """So many seconds' worth of requests may come at once, s."""

    api_rate_buckets_max: int = Field(default=100_000, ge=100, le=10_000_000)
    """Callers whose rate is remembered (count, about 200 bytes each); the one silent for longest is forgotten first."""

    api_trusted_proxies: Names = ()
    """Networks of the proxies whose word about the client is taken, as CIDR, separated by commas."""

    api_proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The one header in which these proxies name the client; the other is ignored, as a client may have sent it."""

    api_allowed_hosts: Names = ()
    """Further names in the Host header, `*.example.com` for all below it, `*` for any. Loopback names and the address
    that the API listens on are allowed always."""

    api_cors_origins: Names = ()
    """Web pages of other origins that may use the API, REST and WebSocket, like https://app.example.com; `*`: any."""

    api_access_log: Literal["off", "text", "json"] = "off"
    """One line on stdout for each request and connection, without keys: `text` or `json`."""

    api_body_max_bytes: int = Field(default=65_536, ge=0, le=16_777_216)
    """Body of one request, bytes."""

    @field_validator("api_trusted_proxies", "api_allowed_hosts", "api_cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_keys_file", "api_rate_anonymous", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("api_trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"{error}: write networks like 10.0.0.0/8,fd00::/8 or single addresses") from None
        return value

    @field_validator("api_cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if text != "*" and split_origin(text) is None:
                raise ValueError(f"{text!r} is no origin: write https://app.example.com, without a path")
        return value

    @property
    def keys_file(self) -> Path:
        """Where the keys are."""
        return self.api_keys_file or self.home / "access" / "keys.json"

    @property
    def trusted_networks(self) -> Networks:
        """The proxies' networks, parsed."""
        return tuple(ipaddress.ip_network(text) for text in self.api_trusted_proxies)

    @property
    def private(self) -> bool:
        """Whether only programs of this machine can connect, and none of them is known to speak for others."""
        return is_loopback(self.api_host) and not self.api_trusted_proxies

    @property
    def anonymous(self) -> bool:
        """Whether a caller without a key may read."""
        return self.private if self.api_anonymous == "auto" else self.api_anonymous == "always"

    @property
    def anonymous_rate(self) -> float:
        """Requests a second of one address without a key; 0: no limit."""
        if self.api_rate_anonymous is not None:
            return self.api_rate_anonymous
        return 0.0 if self.private else FOREIGN_RATE
