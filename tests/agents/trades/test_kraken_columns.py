"""A page read by columns is the page read row by row, whatever is in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.trades.exchange import Page
from agents.trades.exchanges import kraken
from agents.trades.exchanges.kraken import _page_by_rows, decode_page
from agents.trades.kraken_columns import epochs_ns, page_trades, place, positives

ROOT = Path(os.environ.get("TICKCAST_SHARED_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
FOLDER = ROOT / "kraken_payloads"
NOW_NS = 1_800_000_000_000_000_000
SINCE_NS = 1_616_666_442_000_000_000

NUMBERS = st.decimals("0.00000001", "9999999", places=8).map(lambda value: f'"{value:f}"')
SECONDS = st.integers(1_000_000_000, 1_799_999_999)
TIMES = st.builds(lambda second, tail: f"{second}.{tail}", SECONDS, st.from_regex(r"\A[0-9]{1,9}\Z"))
IDS = st.integers(1, 2**63 - 1).map(str)
ODD_NUMBER_TEXTS = ["0.0", "-1", "01", ".5", "5.", "5", "1.2.3", "", ".", "1e5", "1E-7", "NaN", "Infinity", "1_0"]
ODD_NUMBER_TEXTS += [" 5", "+5", "\u0665", "1,5", "18446744073709551617", "1e00001"]
NO_NUMBER_TEXTS = ["5.5", "7", "null", "true", '"1\\""', "[]", '["5"]', '"\\u0035"']
ODD_NUMBERS = st.sampled_from([*map(json.dumps, ODD_NUMBER_TEXTS), *NO_NUMBER_TEXTS]) | st.integers(1, 10**400).map(
    lambda number: f'"{number}"'
)
ODD_TIME_TEXTS = ["1616666442", "16166664421.5", "161666644.25", "1616666442.0000000001", "0.5", "-616666442.5", "1e9"]
ODD_TIME_TEXTS += ["1616666442.5e1", "1616666442.1e2", "0616666442.5", "0000000000.0", "9999999999.9"]
ODD_TIME_TEXTS += ["null", '"1616666442.5"', "1,616666442.5", "[]", "123.45678901234"]
ODD_TIMES = st.sampled_from(ODD_TIME_TEXTS)
ODD_ID_TEXTS = ["0", "-1", "1.0", "1.5", '"7"', "null", "true", "9223372036854775808", "007"]
ODD_IDS = st.sampled_from(ODD_ID_TEXTS)
GOOD = '["1.5","2.5",1616666442.5,"b","m","",7]'
WORDS = st.text(max_size=4).map(json.dumps)


def rows(odd: bool) -> st.SearchStrategy[str]:
    def either(usual: st.SearchStrategy[str], other: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return usual | other if odd else usual

    cells = (
        either(NUMBERS, ODD_NUMBERS),
        either(NUMBERS, ODD_NUMBERS),
        either(TIMES, ODD_TIMES),
        either(st.sampled_from(('"b"', '"s"')), WORDS | st.just("5")),
        either(st.sampled_from(('"m"', '"l"')), WORDS | st.just("null")),
        either(st.just('""'), WORDS),
        either(IDS, ODD_IDS),
    )
    row = st.tuples(*cells).map(lambda parts: f"[{','.join(parts)}]")
    return either(row, st.sampled_from(("5", "null", "[]", '["1","2",3,"b","m",""]', '{"price":1}', "[")))


def body(parts: list[str], last: str = ',"last":"1616666442301045766"', error: str = "[]") -> bytes:
    return f'{{"error":{error},"result":{{"XXBTZUSD":[{",".join(parts)}]{last}}}}}'.encode()


def by_rows(raw: bytes) -> Page:
    page, last = _page_by_rows(raw, "BTC/USD", NOW_NS, "kraken")
    if not page.error:
        place(page, last, SINCE_NS)
    return page


def both(raw: bytes) -> tuple[Page, Page]:
    return decode_page(raw, "BTC/USD", NOW_NS, "kraken", SINCE_NS), by_rows(raw)


@given(st.lists(rows(odd=False), max_size=6))
def test_a_usual_page_is_read_by_columns_and_is_the_same_page(parts: list[str]) -> None:
    trades, last = page_trades(body(parts), "BTC/USD", NOW_NS, "kraken")
    page, expected = both(body(parts))
    assert page == expected
    assert (trades, last, expected.refusals) == (expected.trades, "1616666442301045766", [])


@settings(max_examples=400)
@given(
    st.lists(rows(odd=False) | rows(odd=True), max_size=4),
    st.sampled_from(
        ("", ',"last":5', ',"last":[]', ',"last":"soon"', ',"last":"\\u0031616666442301045766"', ',"y":[]')
    ),
    st.sampled_from(("[]", '[""]', '"EService:Busy"', "null", '["EQuery:Unknown asset pair"]')),
)
def test_an_odd_page_comes_out_as_row_by_row(parts: list[str], last: str, error: str) -> None:
    page, expected = both(body(parts, last, error))
    assert page == expected


@pytest.mark.parametrize("last", ['"1616666442301045766"', "5", '"\\u0031616666442301045766"', "1616666442301045766"])
def test_a_full_page_goes_on_at_the_same_place(last: str) -> None:
    parts = [f'["1.5","2.5",1616666442.{number:03d},"b","m","",{number}]' for number in range(1, 1_001)]
    page, expected = both(body([part.replace(".1000,", ".999,") for part in parts], f',"last":{last}'))
    assert page == expected
    assert page.next is not None


@pytest.mark.parametrize("place_of", [0, 1], ids=["price", "qty"])
@pytest.mark.parametrize("number", [*map(json.dumps, ODD_NUMBER_TEXTS), *NO_NUMBER_TEXTS])
def test_one_odd_number_is_judged_as_row_by_row(number: str, place_of: int) -> None:
    cells = ['"1.5"', '"2.5"']
    cells[place_of] = number
    page, expected = both(body([GOOD, f'[{cells[0]},{cells[1]},1616666442.5,"b","m","",8]']))
    assert page == expected


@pytest.mark.parametrize("time", ODD_TIME_TEXTS)
def test_one_odd_time_is_judged_as_row_by_row(time: str) -> None:
    page, expected = both(body([GOOD, f'["1.5","2.5",{time},"b","m","",8]']))
    assert page == expected


@pytest.mark.parametrize("number", ODD_ID_TEXTS)
def test_one_odd_id_is_judged_as_row_by_row(number: str) -> None:
    page, expected = both(body([GOOD, f'["1.5","2.5",1616666442.5,"b","m","",{number}]']))
    assert page == expected


def test_a_usual_page_never_goes_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(kraken, "_page_by_rows")
    assert [trade.trade_id for trade in decode_page(body([GOOD]), "BTC/USD", NOW_NS).trades] == [7]


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"recorded payloads are not at {FOLDER} (TICKCAST_SHARED_DATA)")
def test_every_recorded_page_is_the_same_page() -> None:
    by_columns = 0
    for file in FOLDER.iterdir():
        for line in file.read_text().splitlines():
            one = json.loads(line)
            raw = str(one.get("raw", one.get("data", ""))).encode()
            page, expected = both(raw)
            assert page == expected
            try:
                by_columns += len(page_trades(raw, "BTC/USD", NOW_NS, "kraken")[0])
            except (msgspec.MsgspecError, ValueError):
                continue
    assert by_columns >= 1_000  # the page of 2025 is one of them


@given(st.lists(st.decimals("0.00000001", "1e15", places=8).map(lambda value: f"{value:f}"), min_size=1))
def test_numbers_are_the_floats_nearest_to_their_texts(texts: list[str]) -> None:
    assert positives([msgspec.Raw(f'"{text}"'.encode()) for text in texts]) == list(map(float, texts))


@given(st.from_regex(r"\A[1-9][0-9]{0,25}\.[0-9]{1,40}\Z"))
def test_a_number_of_any_length_is_the_nearest_float(text: str) -> None:
    assert positives([msgspec.Raw(f'"{text}"'.encode())]) == [float(text)]


@given(st.lists(st.tuples(st.integers(10**9, 10**10 - 1), st.from_regex(r"\A[0-9]{1,9}\Z")), min_size=1))
def test_times_are_exact_to_the_nanosecond(parts: list[tuple[int, str]]) -> None:
    raws = [msgspec.Raw(f"{second}.{tail}".encode()) for second, tail in parts]
    assert epochs_ns(raws) == [second * 10**9 + int(tail.ljust(9, "0")) for second, tail in parts]
