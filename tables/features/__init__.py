"""Indicators: one definition for the live fold, the bulk path, ClickHouse columns and the models."""

from tables.features.catalog import FEATURE_NAMES, FEATURE_SET

__all__ = ["FEATURE_NAMES", "FEATURE_SET"]
