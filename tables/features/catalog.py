"""The ordered feature list. Whoever needs a column name reads it here."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import Final

import msgspec

from tables.features import indicators
from tables.features.indicator import PERIODS, Indicator
from tables.features.window import COLUMNS, DERIVED, SUMMED

__all__ = ["CATALOG", "DEFINITION_VERSION", "FEATURE_NAMES", "FEATURE_SET", "PERIODS", "Catalog", "discover"]

DEFINITION_VERSION: Final = 1
"""Raise it when what all indicators see changes; a change of one formula raises the version of its class."""


class Catalog:
    """The indicators that a fold computes, and what follows from them.

    Raises
    ------
    ValueError
        Two indicators share a place or a name, or one does not say for each name what it is.

    """

    def __init__(self, found: Iterable[type[Indicator]]) -> None:
        self.indicators: Final = tuple(sorted(found, key=lambda one: one.place))
        _check(self.indicators)
        self.names: Final = tuple(name for one in self.indicators for name in one.names)
        self.about: Final = dict(zip(self.names, (text for one in self.indicators for text in one.about), strict=True))
        self.warm_up: Final = tuple(bars for one in self.indicators for bars in one.warm_up)
        self.feature_set: Final = _hash(
            str(DEFINITION_VERSION),
            *(name if one.version == 1 else f"{name}@{one.version}" for one in self.indicators for name in one.names),
        )[:12]
        """Hash of names, order and definitions; carried by features, forecasts and models."""
        self.sums: Final = tuple(sorted({pair for one in self.indicators for pair in one.sums}))
        """Columns that are added up, each with a number of bars."""
        self.depths: Final = self._depths()
        self.stored: Final = {
            name: self.depths[name] for name in COLUMNS if name not in DERIVED and self.depths.get(name, 0) > 1
        }
        """Raw columns of which bars before the ring are stored, with their depth."""
        self.named: Final = msgspec.defstruct("Values", [(name, float) for name in self.names], gc=False)
        """Takes the values in order; its `asdict` has them by name."""
        self.state_size: Final = sum(len(one().state) for one in self.indicators)
        """Floats that the indicators remember (count)."""

    def _depths(self) -> dict[str, int]:
        """Bars to look back on by column, the newest included; derived columns lean on raw ones."""
        depths: dict[str, int] = {"close": 2}  # the close before the ring is what silent bars stand at
        asked = [item for one in self.indicators for item in one.inputs.items()]
        asked += self.sums
        asked += [
            (raw, depth + more) for name, depth in asked if name in DERIVED for raw, more in DERIVED[name].items()
        ]
        for name, depth in asked:
            depths[name] = max(depth, depths.get(name, 0))
        return depths


def _check(found: tuple[type[Indicator], ...]) -> None:
    places: dict[int, str] = {}
    names: dict[str, str] = {}
    for one in found:
        other = places.setdefault(one.place, one.__name__)
        if other != one.__name__:
            raise ValueError(f"indicators {other} and {one.__name__} share place {one.place}: give one a free place")
        for name in one.names:
            other = names.setdefault(name, one.__name__)
            if other != one.__name__:
                raise ValueError(f"indicators {other} and {one.__name__} share the name {name}: rename one")
        if not len(one.names) == len(one.warm_up) == len(one.about):
            raise ValueError(f"indicator {one.__name__} needs one entry of warm_up and of about for each of its names")
        unknown = (set(one.inputs) - set(COLUMNS)) | ({column for column, _ in one.sums} - set(SUMMED))
        if unknown:
            raise ValueError(f"indicator {one.__name__} reads {min(unknown)}, which is no such column of the window")


def _hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def discover(package: ModuleType) -> list[type[Indicator]]:
    """Find the indicators that the modules of a package define."""
    modules = [
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    ]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Indicator) and value.__module__ == module.__name__
    ]


CATALOG: Final = Catalog(discover(indicators))
"""All indicators of `tables/features/indicators/`."""
FEATURE_NAMES: Final = CATALOG.names
FEATURE_SET: Final = CATALOG.feature_set
