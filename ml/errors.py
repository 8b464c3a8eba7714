"""Errors of models and registry."""

from __future__ import annotations

from redpanda.errors import TickcastError

__all__ = ["ModelRefusedError"]


class ModelRefusedError(TickcastError):
    """A registered model must not be served: keep the last good one."""
