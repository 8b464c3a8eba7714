"""Rows as REST gives them: the records with what only REST knows."""

from __future__ import annotations

import msgspec

from api.schemas import ErrorRow, ForecastRow
from api.tokens import forecast_id
from tables.records import Forecast, Scored

__all__ = ["error_row", "forecast_row"]


def forecast_row(row: Forecast) -> ForecastRow:
    """Give a forecast its name."""
    return ForecastRow(*(*msgspec.structs.astuple(row), forecast_id(row)))


def error_row(row: Scored) -> ErrorRow:
    """Give a scored forecast its name."""
    return ErrorRow(*(*(getattr(row, name) for name in Scored.__struct_fields__), forecast_id(row)))
