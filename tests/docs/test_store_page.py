"""The page of the store says what the migrations say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from docs.generate_store import PAGE, page
from tests.support.store import store, store_client, store_database, store_settings

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["store", "store_client", "store_database", "store_settings"]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python docs/generate_store.py`"


@pytest.mark.component
def test_the_page_has_every_column_and_view_of_the_store(store_client: Client) -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", page(), re.MULTILINE | re.DOTALL))
    listed = {
        (table, column)
        for table, text in sections.items()
        if table != "Views"
        for column in re.findall(r"^\| (\w+) \| `", text, re.MULTILINE)
    }
    found = store_client.query(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() "
        "AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')"
    ).result_rows
    assert listed == {(table, name) for table, name in found}
    views = store_client.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
    assert set(re.findall(r"^\| (\w+) \| [^-`]", sections["Views"], re.MULTILINE)) - {"view"} == {
        name for (name,) in views.result_rows
    }
