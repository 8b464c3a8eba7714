"""What an indicator is: one class in one file of `tables/features/indicators/`, found by itself.

To add one, write that file. Live fold, bulk path, table row, columns of ClickHouse and the conformance tests
(`tests/tables/features/conformance.py`) follow from the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal

if TYPE_CHECKING:
    from tables.features.arrays import Array, Columns
    from tables.features.window import Window

__all__ = ["PERIODS", "Indicator", "Unit"]

PERIODS: Final = (7, 14, 21, 60)
"""Lengths of the classic indicators (bars)."""

Unit = Literal["price", "volume", ""]


class Indicator(ABC):
    """A family of features that are computed together, live and in bulk.

    Subclasses declare what they are (below), and compute it twice: `update` by one bar, `bulk` over whole arrays. What
    is not warm yet may be anything that is no exception: the chain blanks it by `warm_up`. A value that cannot be told
    is NaN; an infinite one is a fault.
    """

    place: ClassVar[int]
    """Its place among the indicators: features are ordered by it, and two must not share one."""
    version: ClassVar[int] = 1
    """Raise it when a formula changes under the same name: models and rows of the old one are refused."""
    names: ClassVar[tuple[str, ...]]
    """Its features, in the order of what `update` and `bulk` give."""
    about: ClassVar[tuple[str, ...]]
    """What each feature is, with its unit: the comment of its column."""
    warm_up: ClassVar[tuple[int, ...]]
    """Bars before each feature's first value (count)."""
    unit: ClassVar[Unit] = ""
    """All its features grow in proportion to this; empty: they do not depend on the scale of prices and volumes."""
    flat_is_none: ClassVar[bool] = False
    """No value (0/0) as long as the price has not moved. Where nothing is traded there always is a value."""
    exact: ClassVar[bool] = False
    """A recurrence: `update` and `bulk` agree bit by bit. Otherwise to rounding."""
    inputs: ClassVar[Mapping[str, int]] = {}
    """Columns of the window that `update` reads, with the number of bars looked back on, the newest included."""
    sums: ClassVar[Sequence[tuple[str, int]]] = ()
    """Sums that `pick` gives, each a column and a number of newest bars: the window adds up once for all."""

    def __init__(self) -> None:
        self.pick: Callable[[Sequence[float]], tuple[float, ...]]
        """Takes `sums` out of `window.sums`, in that order; the chain sets it. Fewer bars give the sum of those."""
        self.state: tuple[float, ...] = ()
        """All that it remembers besides the window: always the same number of floats. It is stored and restored."""

    @abstractmethod
    def update(self, window: Window) -> Sequence[float]:
        """Advance by the newest bar of `window`; give one value a name."""

    @classmethod
    @abstractmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        """Give one array a name, each of `bars.rows` values, NaN until warm. Any number of bars is fine, also none."""
