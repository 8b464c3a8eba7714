"""The data contract: one pandera schema for the trainer, the gate and `tickcast check data`.

Every rule is a named check over whole rows. Limits are set so that the fat tails of a real market keep the contract:
in a year of BTC/USDT minutes no price is further than 4.2 % from the close before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from tables.records import MINUTE_MS

if TYPE_CHECKING:
    from ml.checks.quality import Quality

__all__ = [
    "MAX_MISSING",
    "PRICES",
    "RULES",
    "SCHEMA",
    "Breach",
    "Rule",
    "breaches_of",
    "contract",
    "finite",
    "remedy",
    "sound",
    "told",
    "values",
]

PRICES: Final = ("open", "high", "low", "close")
MAX_MISSING: Final = 0.05
"""Largest share of missing feature values in warm rows: flat markets leave a few."""


class Breach(msgspec.Struct, frozen=True):
    """A rule that was broken."""

    rule: str
    rows: int
    """That break it; all of them where the rule is about all (count)."""
    first_ms: int
    """open_ms of the first one."""


class Rule(msgspec.Struct, frozen=True):
    """One rule of the contract."""

    name: str
    what: str
    """What such rows are like, behind their number."""
    remedy: str
    """What a person does about it."""
    holds: Callable[[pd.DataFrame], Any]
    """Takes the frame of `SCHEMA`; gives one bool a row, or one for all."""


def values(columns: Any) -> list[str]:
    """Name the prices and, where it is there, the volume."""
    return [name for name in (*PRICES, "volume") if name in columns]


def finite(frame: pd.DataFrame) -> Any:
    """Tell which rows have numbers for prices and volume."""
    return pd.Series(np.isfinite(frame[values(frame)].to_numpy()).all(axis=1), frame.index)


def sound(rows: Any) -> Any:
    """Tell which rows have finite prices that are positive and in order: low <= open, close <= high.

    Parameters
    ----------
    rows
        A frame, or a mapping of arrays.
    """
    low, high = rows["low"], rows["high"]
    order = (low <= rows["close"]) & (low <= rows["open"]) & (rows["open"] <= high) & (rows["close"] <= high)
    return (low > 0) & order & (high < np.inf)


def _ordered(frame: pd.DataFrame) -> Any:
    return sound(frame) | ~finite(frame)  # one rule a fault


def _volume(frame: pd.DataFrame) -> Any:
    return ~(frame["volume"] < 0) if "volume" in frame else True


RULES: Final = (
    Rule(
        "whole minutes",
        "not at a whole minute",
        "give the open times of 1m candles, in UTC",
        lambda frame: frame["open_ms"] % MINUTE_MS == 0,
    ),
    Rule(
        "one minute a row",
        "in steps of more than a minute",
        "give 1m candles: other timeframes are made of them",
        lambda frame: not frame["minutes"].median() > 1,
    ),
    Rule(
        "time order",
        "behind a newer row of the pair",
        "sort the rows of each pair by their time",
        lambda frame: ~frame["late"],
    ),
    Rule(
        "one row a minute",
        "of a minute that is there again",
        "keep one row of each pair and minute; in the store run `OPTIMIZE TABLE features FINAL`",
        lambda frame: ~frame["repeated"],
    ),
    Rule(
        "values are numbers",
        "with a price or volume that is missing or infinite",
        "leave such rows out: a missing minute is a gap, which costs its labels only",
        finite,
    ),
    Rule(
        "prices in order",
        "with prices out of order",
        "0 < low <= open, close <= high must hold: compare these rows with the exchange's, then mend or drop them",
        _ordered,
    ),
    Rule("volume", "with a negative volume", "mend or drop these rows", _volume),
    Rule(
        "no jumps",
        "with a jump further than a market moves in a minute",
        "compare with another exchange: drop a bad print; cut the history where the quote changed; a real crash stays, "
        "and `tickcast models promote N --force REASON` serves a model that saw it",
        lambda frame: ~(frame["reach"] > 1),
    ),
    Rule(
        "features are there",
        "with too few feature values, in the mean of the warm ones",
        "let the worker compute them again: `tickcast rebuild`",
        lambda frame: not frame["missing"].mean() > MAX_MISSING,
    ),
)
_BY_NAME: Final = {rule.name: rule for rule in RULES}

SCHEMA: Final = pa.DataFrameSchema(
    {
        "open_ms": pa.Column("int64"),
        **{name: pa.Column("float64", nullable=True) for name in PRICES},
        "volume": pa.Column("float64", nullable=True, required=False),
        "minutes": pa.Column("float64", nullable=True),
        "late": pa.Column("bool"),
        "repeated": pa.Column("bool"),
        "reach": pa.Column("float64", nullable=True),
        "missing": pa.Column("float64", nullable=True),
    },
    # One case of each: counts come from the checks' output, and cases of a bad file would fill the memory.
    checks=[pa.Check(rule.holds, name=rule.name, ignore_na=False, n_failure_cases=1) for rule in RULES],
)
"""Rows ordered by pair and time. Beside what was recorded: `minutes` since the row before, `late` (came behind a newer
one of its pair), `repeated` (a newer row of the minute follows), `reach` (its largest move over what is allowed),
`missing` (share of its feature values; NaN while it is not warm)."""


def breaches_of(frame: pd.DataFrame) -> list[Breach]:
    """Validate rows against `SCHEMA`; give what is broken, in the order of the rules.

    Raises
    ------
    pandera.errors.SchemaErrors
        A column is missing or of another type: a fault of the caller, not of the data.
    """
    try:
        SCHEMA.validate(frame, lazy=True)
    except SchemaErrors as found:
        broken = {getattr(error.check, "name", ""): error.check_output for error in found.schema_errors}
        if not set(broken) <= set(_BY_NAME):
            raise
        return [_breach(rule, broken[rule.name], frame) for rule in RULES if rule.name in broken]
    return []


def _breach(rule: Rule, output: Any, frame: pd.DataFrame) -> Breach:
    bad = ~np.broadcast_to(np.asarray(output, dtype=bool), len(frame))
    return Breach(rule.name, int(bad.sum()), int(frame["open_ms"].to_numpy()[bad].min()))


def contract(quality: Quality) -> str | None:
    """Name what the data broke; None where it may be trained on."""
    return "; ".join(told(quality.broken)) or None


def told(broken: Sequence[Breach]) -> list[str]:
    """Say each breach in words."""
    return [f"{one.rows:,} row{'s' * (one.rows != 1)} {_BY_NAME[one.rule].what}" for one in broken]


def remedy(breach: Breach) -> str:
    """Say what to do about a breach."""
    return _BY_NAME[breach.rule].remedy
