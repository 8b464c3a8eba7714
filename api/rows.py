"""Rows as REST gives them: the records with what only REST knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api.schemas import ErrorRow, ForecastRow
from api.tokens import forecast_id

if TYPE_CHECKING:
    from tables.records import Forecast, Scored

__all__ = ["error_row", "forecast_row"]


def forecast_row(row: Forecast) -> ForecastRow:
    """Give a forecast its name."""
    return ForecastRow(*(*msgspec.structs.astuple(row), forecast_id(row)))


def error_row(row: Scored) -> ErrorRow:
    """Give a scored forecast its name."""
    return ErrorRow(*(*msgspec.structs.astuple(row), forecast_id(row)))
