from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from agents.trades.refusals import Refusal
from agents.trades.replay import ReplaySource, read_trades
from agents.trades.settings import IngestSettings, ingest_settings
from agents.trades.source import Resume
from redpanda.errors import BadInputError, ConfigError
from tables.records import Trade

HEAD = "symbol,price,qty,side,ord_type,trade_id,timestamp\n"
LINES = (
    "BTC/USD,9431.1,2.02,buy,market,,2018-05-08T04:11:40.029500000Z\n"
    "ETH/USD,730.5,1,sell,limit,,2018-05-08T04:11:40.030000000Z\n"
    "BTC/USD,9432,2,,,,2018-05-08T04:11:40.032300001Z\n"
)
ROOT = Path(os.environ.get("TICKCAST_SHARED_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
RECORDED = ROOT / "trades"
needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason=f"recorded trades are not at {RECORDED} (TICKCAST_SHARED_DATA)"
)


def of(path: Path, **values: object) -> IngestSettings:
    return ingest_settings(**{"source": f"replay:{path}", "pairs": ""} | values)


def written(folder: Path, text: str) -> Path:
    path = folder / "trades.csv"
    path.write_text(text)
    return path


def split(settings: IngestSettings) -> tuple[list[Trade], list[Refusal]]:
    items = list(read_trades(settings))
    return [one for one in items if isinstance(one, Trade)], [one for one in items if isinstance(one, Refusal)]


def played(source: ReplaySource, resume: dict[str, Resume] | None = None) -> list[Trade]:
    async def go() -> list[Trade]:
        async with asyncio.timeout(20), contextlib.aclosing(source.batches(resume or {})) as batches:
            return [trade async for batch in batches for trade in batch.trades]

    return asyncio.run(go())


def test_blank_ids_number_a_pairs_trades_in_file_order(tmp_path: Path) -> None:
    trades, refusals = split(of(written(tmp_path, HEAD + LINES)))
    assert not refusals
    assert trades == [
        Trade("BTC/USD", 1, 1_525_752_700_029_500_000, 9431.1, 2.02, "buy", "market", "replay"),
        Trade("ETH/USD", 1, 1_525_752_700_030_000_000, 730.5, 1.0, "sell", "limit", "replay"),
        Trade("BTC/USD", 2, 1_525_752_700_032_300_001, 9432.0, 2.0, "", "", "replay"),
    ]


def test_given_ids_are_kept(tmp_path: Path) -> None:
    text = HEAD + "A/B,1,1,buy,limit,10218208,2025-11-10T17:23:53.971744500Z\n"
    assert [trade.trade_id for trade in split(of(written(tmp_path, text)))[0]] == [10218208]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("BTC/USD,nan,1,buy,,,2018-05-08T04:11:41Z", "price-not-finite"),
        ("BTC/USD,0,1,buy,,,2018-05-08T04:11:41Z", "price-not-positive"),
        ("BTC/USD,1,-1,buy,,,2018-05-08T04:11:41Z", "qty-not-positive"),
        ("BTC/USD,abc,1,buy,,,2018-05-08T04:11:41Z", "wrong-type"),
        ("BTC/USD,,1,buy,,,2018-05-08T04:11:41Z", "missing-field"),
        ("BTC/USD,1,1,hold,,,2018-05-08T04:11:41Z", "side-unknown"),
        ("BTC/USD,1,1,buy,,0,2018-05-08T04:11:41Z", "trade-id-invalid"),
        ("BTC/USD,1,1,buy,,,2018-05-08", "timestamp-invalid"),
        ("BTC/USD,1,1,buy,,,2218-05-08T04:11:41Z", "future-timestamp"),
        (",1,1,buy,,,2018-05-08T04:11:41Z", "unknown-pair"),
        ("BTC/USD,1,1", "malformed-row"),
        ('BTC/USD,"1,1,buy,,,2018-05-08T04:11:41Z', "malformed-row"),
        ("BTC/USD," + "1" * 5_000, "too-large"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_takes_no_number(tmp_path: Path, line: str, reason: str) -> None:
    trades, refusals = split(of(written(tmp_path, HEAD + LINES + line + "\n" + LINES)))
    assert [trade.trade_id for trade in trades] == [1, 1, 2, 3, 2, 4]
    assert [refusal.reason for refusal in refusals] == [reason]
    assert "line 5" in refusals[0].detail


def test_columns_may_stand_in_another_order_and_be_quoted(tmp_path: Path) -> None:
    text = 'timestamp,"symbol",price,qty,other\n2018-05-08T04:11:40Z,"BTC/USD",5,6,x\r\n\n'
    trades, refusals = split(of(written(tmp_path, text)))
    assert not refusals
    assert [(one.pair, one.price, one.qty, one.side) for one in trades] == [("BTC/USD", 5.0, 6.0, "")]


def test_only_the_pairs_and_times_asked_for_are_published(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + LINES)
    source = ReplaySource(of(path, pairs="BTC/USD", replay_from="2018-05-08T04:11:40.03Z"))
    assert [(trade.pair, trade.trade_id) for trade in played(source)] == [("BTC/USD", 2)]
    assert (source.counters.read, source.counters.skipped, source.state) == (1, 2, "done")
    assert [trade.trade_id for trade in played(ReplaySource(of(path, replay_to="2018-05-08T04:11:40.03Z")))] == [1]


@pytest.mark.parametrize(
    ("text", "error"),
    [("", "no column"), ("a,b\n", "no column price, qty, symbol, timestamp")],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(BadInputError, match=error):
        split(of(written(tmp_path, text)))


def test_a_missing_or_cut_file_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"TICKCAST_SOURCE=replay:.*No such file"):
        played(ReplaySource(of(tmp_path / "none.csv")))
    whole = gzip.compress((HEAD + LINES * 1_000).encode())
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match="check the file"):
        split(of(path))
    path.write_bytes(b"not gzip")
    with pytest.raises(BadInputError, match="check the file"):
        split(of(path))


def test_a_second_replay_goes_on_behind_the_topics_last_trade(tmp_path: Path) -> None:
    settings = of(written(tmp_path, HEAD + LINES))
    first = played(ReplaySource(settings))
    assert [(trade.pair, trade.trade_id) for trade in first] == [("BTC/USD", 1), ("BTC/USD", 2), ("ETH/USD", 1)]
    resume = {"BTC/USD": Resume(first[0]), "ETH/USD": Resume(first[2])}
    assert played(ReplaySource(settings), resume) == [first[1]]
    other = msgspec.structs.replace(first[0], price=1.0)
    with pytest.raises(ConfigError, match="another TICKCAST_HOME"):
        played(ReplaySource(settings), {"BTC/USD": Resume(other)})


def test_passing_over_a_long_file_leaves_the_loop_its_turn(tmp_path: Path) -> None:
    file = written(tmp_path, HEAD + "OTHER/USD,1,1,buy,,,2018-05-08T04:11:41Z\n" * 50_000)

    async def go() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)  # always ready: it comes to its turn as soon as the loop has one

        counter = asyncio.create_task(count())
        assert [batch async for batch in ReplaySource(of(file, pairs="BTC/USD")).batches({})] == []
        counter.cancel()
        return turns

    assert asyncio.run(go()) > 1


def test_at_a_pace_pairs_are_merged_by_time(tmp_path: Path) -> None:
    lines = [
        f"{pair},1,1,buy,,,2018-05-08T04:11:4{second}.{tenth}Z\n"
        for pair, tenth in (("A/B", 0), ("C/D", 5))
        for second in range(5)
    ]
    begin = time.monotonic()
    trades = played(ReplaySource(of(written(tmp_path, HEAD + "".join(lines)), replay_speed=20.0)))
    assert [trade.ts_ns for trade in trades] == sorted(trade.ts_ns for trade in trades)
    assert len(trades) == 10
    assert 4.5 / 20 <= time.monotonic() - begin < 5


def test_parquet_tells_the_same_trades(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    trades, _ = split(of(written(tmp_path, HEAD + LINES)))
    rows = [line.split(",") for line in (HEAD + LINES).splitlines()]
    texts = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    path = tmp_path / "trades.parquet"
    pq.write_table(pa.table(texts), path)
    assert split(of(path))[0] == trades
    typed = texts | {
        "price": pa.array([Decimal(text) for text in texts["price"]]),
        "qty": [float(text) for text in texts["qty"]],
        "trade_id": pa.array([None, None, None], pa.int64()),
        "timestamp": pa.array([trade.ts_ns for trade in trades], pa.timestamp("ns", tz="UTC")),
    }
    pq.write_table(pa.table(typed), path)
    assert split(of(path))[0] == trades
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(BadInputError, match="Parquet"):
        split(of(path))


@needs_recordings
def test_every_recorded_file_is_read_without_a_refusal() -> None:
    counts: Counter[str] = Counter()
    for path in sorted(RECORDED.glob("*.csv.gz")):
        last: dict[str, int] = {}
        for one in read_trades(of(path)):
            assert isinstance(one, Trade)
            assert one.trade_id == last.get(one.pair, one.trade_id - 1) + 1
            last[one.pair] = one.trade_id
            counts[f"{path.name[:11]} {one.pair}"] += 1
    assert counts == {
        "kraken_2018 BTC/USD": 152_019,
        "kraken_2018 ETH/USD": 162_235,
        "kraken_2018 EOS/USD": 104_503,
        "kraken_2018 USDT/USD": 43_581,
        "kraken_2020 BTC/USD": 5_000,
        "kraken_2023 BCH/EUR": 634,
        "kraken_2025 BTC/USDT": 1_000,
    }
