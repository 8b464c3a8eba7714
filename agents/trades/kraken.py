"""The name under which the service finds the live source."""

from agents.trades.live import LiveSource as KrakenSource

__all__ = ["KrakenSource"]
