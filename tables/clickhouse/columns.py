"""The columns that sinks write, each with its type and the field that fills it; in the order of the tables."""

from __future__ import annotations

from typing import Final, NamedTuple

from tables.features import FEATURE_NAMES

__all__ = ["FEATURE_HEAD", "TABLES", "Column"]


class Column(NamedTuple):
    """A column, its type, and the field of the record that fills it."""

    name: str
    type: str
    field: str


_TEXT: Final = "LowCardinality(String)"
_TIME: Final = "DateTime64(3, 'UTC')"
_FLOAT: Final = "Float64"
_COUNT: Final = "UInt32"
_EXACT_TIME: Final = "DateTime64(9, 'UTC')"


def _columns(*groups: tuple[str, str]) -> tuple[Column, ...]:
    """Read `("type", "name name=field ...")` groups."""
    return tuple(
        Column(name, kind, field or name)
        for kind, names in groups
        for name, _, field in (word.partition("=") for word in names.split())
    )


FEATURE_HEAD: Final = _columns(
    (_TEXT, "pair timeframe"),
    (_TIME, "open_time=open_ms"),
    (_FLOAT, "open high low close volume quote_volume buy_volume"),
    (_COUNT, "trades"),
    (_FLOAT, "vwap"),
    (_COUNT, "revision"),
    ("Bool", "synthetic"),
    (_TEXT, "source feature_set"),
    (_COUNT, "bars"),
    (_TIME, "as_of=as_of_ms"),
)
TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "candles": _columns(
        (_TEXT, "pair timeframe"),
        (_TIME, "open_time=open_ms"),
        (_FLOAT, "open high low close volume quote_volume buy_volume"),
        (_COUNT, "trades"),
        (_FLOAT, "vwap"),
        ("Int64", "first_trade_id last_trade_id"),
        ("Bool", "closed"),
        (_COUNT, "revision"),
        ("Bool", "synthetic"),
        (_TEXT, "closed_by source"),
        (_TIME, "as_of=as_of_ms"),
    ),
    "features": (*FEATURE_HEAD, *(Column(name, _FLOAT, name) for name in FEATURE_NAMES)),
    "forecasts": _columns(
        (_TEXT, "pair"),
        (_COUNT, "horizon_s"),
        (_TIME, "made_at=made_at_ms feature_open=feature_open_ms target_time=target_ms"),
        (_FLOAT, "base_price q05 q25 q50 q75 q95 p_up sigma_bps"),
        (_TEXT, "model model_version model_alias feature_set"),
        ("Bool", "trusted"),
        (f"Array({_TEXT})", "reasons"),
        (_TIME, "expires_at=expires_at_ms"),
        (_COUNT, "revision"),
        (_TEXT, "source"),
    ),
    "forecast_errors": _columns(
        (_TEXT, "pair"),
        (_COUNT, "horizon_s"),
        (_TIME, "feature_open=feature_open_ms target_time=target_ms"),
        (_TEXT, "model model_version"),
        ("Bool", "trusted"),
        (_TEXT, "source"),
        (_FLOAT, "base_price outcome_price"),
        (_COUNT, "outcome_revision"),
        ("Bool", "synthetic"),
        (_FLOAT, "return_bps error_bps pinball_bps baseline_pinball_bps"),
        ("Array(Bool)", "below"),
        (_TIME, "scored_at=scored_at_ms"),
    ),
    "alerts": _columns(
        (_TEXT, "pair name"),
        (_COUNT, "horizon_s"),
        ("Bool", "raised"),
        (_FLOAT, "value bound"),
        ("String", "text"),
        (_TIME, "at=at_ms"),
    ),
    "holes": _columns(
        (_TEXT, "pair"),
        ("Int64", "first_id last_id"),
        (_EXACT_TIME, "after=after_ns"),
        (_TEXT, "state"),
        (_COUNT, "tries"),
        (_TIME, "found_at=found_at_ms at=at_ms"),
        (_TEXT, "source"),
    ),
    "trades": _columns(
        (_TEXT, "pair"),
        (_EXACT_TIME, "time=ts_ns"),
        ("Int64", "trade_id"),
        (_FLOAT, "price qty"),
        (_TEXT, "side ord_type source"),
    ),
    "late_trades": _columns(
        (_TEXT, "pair=trade.pair"),
        (_EXACT_TIME, "time=trade.ts_ns"),
        ("Int64", "trade_id=trade.trade_id"),
        (_FLOAT, "price=trade.price qty=trade.qty"),
        (_TEXT, "side=trade.side source=trade.source reason"),
        (_TIME, "watermark=watermark_ms"),
    ),
    "models": _columns(
        (_COUNT, "horizon_s"),
        (_TEXT, "model model_version model_alias feature_set source"),
        (f"Nullable({_TIME})", "data_to=data_to_ms expires_at=expires_at_ms"),
        ("String", "worker"),
        (_TIME, "at=at_ms"),
    ),
    "dead_letters": _columns(
        (_TIME, "at=at_ms"),
        (_TEXT, "stage reason"),
        ("String", "detail payload"),
        (_TEXT, "topic"),
        ("Int32", "partition"),
        ("Int64", "offset"),
        (_TEXT, "pair"),
    ),
}
