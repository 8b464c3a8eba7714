"""`tickcast keys`: who may use the API."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, override, say

if TYPE_CHECKING:
    from api.access.keys import ApiKey
    from api.settings import ApiSettings

__all__ = ["cli"]

cli = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True, rich_markup_mode=None)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@cli.command()
@examples(
    "tickcast keys create --label trading-desk",
    "tickcast keys create --scope read --expires 90d --rate 20",
    "TICKCAST_KEY=$(tickcast keys create --json | jq -r .token)",
)
def create(
    label: Annotated[str, typer.Option("--label", help="Whose key it is.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="read (REST) or feed (WebSocket); repeat it. Default: both.")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", help="It ends after so long: 12h, 90d, 52w. Default: never.")
    ] = "",
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Requests a second; 0: no limit. Default: TICKCAST_API_RATE_KEY.", min=0),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Make a key and show it, this once: only its hash is kept. A running API takes it within a second."""
    from api.access.keyfile import add
    from api.access.keys import new_key

    settings = _settings(home)
    now_ms = time.time_ns() // 1_000_000
    key, token = new_key(
        now_ms,
        _scopes(scope),
        label=_label(label),
        expires_ms=now_ms + _length_ms(expires) if expires else None,
        rate_per_s=rate,
    )
    add(settings.keys_file, key)
    if as_json:
        say(json.dumps(_row(key, now_ms, None) | {"token": token}, indent=2))
        return
    say(token)
    sys.stderr.write(
        f"Key {key.id} ({', '.join(key.scopes)}; ends: {_minute(key.expires_ms, 'never')}). It is not shown again. "
        f"Send it as `Authorization: Bearer ...`; end it with: tickcast keys revoke {key.id}\n"
    )


@cli.command(name="list")
@examples(
    "tickcast keys list",
    "tickcast keys list --json",
)
def list_keys(as_json: AsJson = False, home: Home = None) -> None:
    """List all keys, without their secrets. Last use is known to half a minute."""
    from api.access.keyfile import read
    from api.access.uses import last_uses

    settings = _settings(home)
    now_ms = time.time_ns() // 1_000_000
    used_ms = last_uses(settings.home)
    keys = sorted(read(settings.keys_file).values(), key=lambda key: key.created_ms)
    if as_json:
        say(json.dumps([_row(key, now_ms, used_ms.get(key.id)) for key in keys], indent=2))
    elif keys:
        _show(keys, now_ms, used_ms)
    else:
        say("no keys yet: `tickcast keys create` makes one")


@cli.command()
@examples(
    "tickcast keys revoke 3f9a1c0b22de",
    "tickcast keys revoke 3f9a1c0b22de --forget",
)
def revoke(
    key_id: Annotated[
        str, typer.Argument(help="Id of the key, as `tickcast keys list` shows it; its token also does.")
    ],
    forget: Annotated[bool, typer.Option("--forget", help="Also drop it from the list.")] = False,
    home: Home = None,
) -> None:
    """End a key now. A running API refuses it within a second, and closes its WebSockets within two."""
    from api.access.keyfile import revoke as end
    from api.access.keys import split_token

    parts = split_token(key_id)
    key = end(_settings(home).keys_file, parts[0] if parts else key_id, time.time_ns() // 1_000_000, forget=forget)
    say(f"key {key.id}{f' ({key.label})' if key.label else ''} is revoked")


def _settings(home: Home) -> ApiSettings:
    override(home=home)
    from api.settings import ApiSettings

    return ApiSettings()


def _scopes(asked: list[str] | None) -> tuple[str, ...]:
    from api.access.keys import SCOPES
    from redpanda.errors import ConfigError

    unknown = [one for one in asked or () if one not in SCOPES]
    if unknown:
        raise ConfigError(f"--scope {unknown[0]!r} is none of {', '.join(SCOPES)}")
    return tuple(one for one in SCOPES if one in (asked or SCOPES))


def _label(text: str) -> str:
    from redpanda.errors import ConfigError

    if len(text) > 100 or not text.isprintable():  # noqa: PLR2004  # a line of the table
        raise ConfigError("--label is one line of at most 100 characters")
    return text


def _length_ms(text: str) -> int:
    from agents.trades.settings import duration_s
    from redpanda.errors import ConfigError

    try:
        length_s = duration_s(text)
    except ValueError as error:
        raise ConfigError(f"--expires: {error}") from None
    if not length_s:
        raise ConfigError("--expires 0 would end it at once: leave it out for a key without an end")
    return length_s * 1_000


def _row(key: ApiKey, now_ms: int, used_ms: int | None) -> dict[str, object]:
    return {
        "id": key.id,
        "label": key.label,
        "scopes": list(key.scopes),
        "state": key.state(now_ms),
        "rate_per_s": key.rate_per_s,
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "revoked_ms": key.revoked_ms,
        "last_used_ms": used_ms,
    }


def _show(keys: list[ApiKey], now_ms: int, used_ms: dict[str, int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False)
    for name in ("id", "state", "scopes", "rate", "created (UTC)", "last used", "ends", "label"):
        grid.add_column(name)
    for key in keys:
        rate = "default" if key.rate_per_s is None else f"{key.rate_per_s:g}/s" if key.rate_per_s else "no limit"
        times = (_minute(key.created_ms), _minute(used_ms.get(key.id)), _minute(key.expires_ms, "never"))
        cells = (key.id, key.state(now_ms), ", ".join(key.scopes), rate, *times, key.label)
        grid.add_row(*(Text(cell) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 160).print(grid)


def _minute(at_ms: int | None, none: str = "-") -> str:
    return none if at_ms is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1_000))
