"""All dashboards."""

from __future__ import annotations

from typing import Final

from k8s.grafana.forecasts import FORECASTS
from k8s.grafana.market import MARKET
from k8s.grafana.panel import Dashboard
from k8s.grafana.pipeline import PIPELINE
from k8s.grafana.quality import QUALITY

__all__ = ["BOARDS"]

BOARDS: Final[tuple[Dashboard, ...]] = (MARKET, FORECASTS, PIPELINE, QUALITY)
