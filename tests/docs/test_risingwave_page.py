"""The page of RisingWave draws what the SQL files say."""

from __future__ import annotations

from docs.generate_risingwave import PAGE, everything, page, picture


def test_picture_is_current() -> None:
    assert PAGE.read_text() == page()
    assert "taker_imbalance" in picture()
    assert picture() in PAGE.read_text()


def test_every_object_is_told_of() -> None:
    table = PAGE.read_text().partition("| object |")[2]
    assert [piece.name for piece in everything() if f"`{piece.name}`" not in table] == []
